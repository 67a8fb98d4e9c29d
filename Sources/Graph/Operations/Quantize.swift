import KilnKernels

/// Numbers of 8 bits that stand for x in products, and their scales: x is codes * scales.
/// Input: x, matrices with leading dimensions folded. Outputs: codes, scales; for floats also work space.
struct Quantize: Operation {
  enum Format: Sendable, Hashable {
    /// Integers with a scale for all, for each row or for each column.
    case int8, int8ByRow, int8ByColumn
    /// Floats with a scale for all, from the largest magnitude of x itself (current scaling).
    case float8(DType)
  }

  let format: Format
  /// Those of weights are made again for the backward pass.
  var isCheap = false

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    let (shape, x) = (inputs[0].shape, inputs[0].shape)
    func scales(_ rows: Int, _ columns: Int) -> TensorType { TensorType([rows, columns], .float32) }
    return switch format {
    case .int8: [TensorType(shape, .int8), scales(1, 1)]
    case .int8ByRow: [TensorType(shape, .int8), scales(x.rows, 1)]
    case .int8ByColumn: [TensorType(shape, .int8), scales(1, x.last)]
    case .float8(let dtype): [TensorType(shape, dtype), scales(1, 1), TensorType([2], .float32)]
    }
  }

  /// What goes back is the gradient of the product that takes the codes, straight to x.
  func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] { [nil] }

  func recomputation(of output: Int, node: Node) -> (operation: any Operation, inputs: [Value], output: Int)? {
    // The scale of all is kept.
    isCheap && output == 0 ? (self, node.inputs, output) : nil
  }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let x = inputs[0].matrix
    guard case .float8(let dtype) = format else {
      return try step.context.quantizeInt8(outputs[0].matrix, scales: outputs[1], x)
    }
    let amax = outputs[2].slice(0, 0..<1)
    let scale = outputs[2].slice(0, 1..<2)
    let inverse = outputs[1].reshaped([1])
    if outputs[1].storage != nil { (scale.scalar, inverse.scalar) = (1, 1) }
    try step.context.absmax(amax, x)
    try step.context.float8Scale(scale, inverse: inverse, amax: amax, dtype)
    try step.context.cast(outputs[0].matrix, x, scale: scale)
  }
}

/// Which operands of a linear layer's three products have 8 bits.
public enum NarrowProducts: Sendable, Hashable {
  /// Integers: inputs and gradients by row, weights with one scale. The gradient of the weight takes what is stored
  /// (SwitchBack: Wortsman et al., arXiv 2304.13013), or integers by column as well.
  case int8(weightGradients: Bool)
  /// Floats with one scale (Micikevicius et al., arXiv 2209.05433): E4M3 for inputs and weights, E5M2 for gradients.
  case float8

  var input: Quantize.Format { self == .float8 ? .float8(.float8E4M3) : .int8ByRow }
  var weight: Quantize.Format { self == .float8 ? .float8(.float8E4M3) : .int8 }
  var gradient: Quantize.Format { self == .float8 ? .float8(.float8E5M2) : .int8ByRow }
}

/// An operand of a product: numbers of 8 bits with their scales, or as they are.
struct ProductOperand {
  let value: Value
  let scales: Value?

  init(_ value: Value, scales: Value? = nil) {
    self.value = value
    self.scales = scales
  }
}

extension Graph {
  func quantize(_ x: Value, _ format: Quantize.Format, isCheap: Bool = false) throws(KilnError) -> ProductOperand {
    let outputs = try record(Quantize(format: format, isCheap: isCheap), [x])
    return ProductOperand(outputs[0], scales: outputs[1])
  }
}
