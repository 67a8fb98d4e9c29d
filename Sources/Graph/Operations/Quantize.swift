import KilnKernels

/// Numbers of 8 bits that stand for x in products, and their scales: x is codes * scales.
/// Inputs: x, matrices with leading dimensions folded; with delayed scaling, its history. Outputs: codes, scales; for
/// floats also the largest magnitude and what x is multiplied by.
struct Quantize: Operation {
  enum Format: Sendable, Hashable {
    /// Integers with a scale for all, for each row or for each column.
    case int8, int8ByRow, int8ByColumn
    /// Floats with a scale for all, from the largest magnitude of x itself (current scaling) or of the history.
    case float8(DType)
  }

  let format: Format
  /// Those of weights are made again for the backward pass.
  var isCheap = false
  /// Delayed scaling (Micikevicius et al., arXiv 2209.05433): by the largest magnitude of the passes before.
  var isDelayed = false

  /// Where the next largest magnitude goes, then as many of them as NVIDIA's Transformer Engine keeps.
  static let history: Shape = [1 + 1024]

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
  func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] { pull.node.inputs.map { _ in nil } }

  func recomputation(of output: Int, node: Node) -> (operation: any Operation, inputs: [Value], output: Int)? {
    // The scale of all is kept.
    guard isCheap && output == 0 else { return nil }
    guard case .float8(let dtype) = format else { return (self, node.inputs, 0) }
    return (CastToFloat8(dtype: dtype), [node.inputs[0], node.outputs[2]], 0)
  }

  var mutated: [Int] { isDelayed ? [1] : [] }

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
    if isDelayed {
      // A history that says nothing yet leaves the scale as it is.
      try step.context.float8Scale(scale, inverse: inverse, amax: inputs[1].slice(0, 1..<Self.history.count), dtype)
      note(amax, in: inputs[1])
    }
    try step.context.cast(outputs[0].matrix, x, scale: scale)
  }

  private func note(_ amax: Tensor, in history: Tensor) {
    guard history.storage != nil else { return }
    let (length, next) = (Self.history.count - 1, history.slice(0, 0..<1))
    let place = Int(next.scalar)
    history.slice(0, 1 + place..<2 + place).scalar = amax.scalar
    next.scalar = Double((place + 1) % length)
  }
}

/// Floats of 8 bits by a scale that is known.
/// Inputs: x, and the pair that `Quantize` keeps.
struct CastToFloat8: Operation {
  let dtype: DType

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [TensorType(inputs[0].shape, dtype)] }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.cast(outputs[0].matrix, inputs[0].matrix, scale: inputs[1].slice(0, 1..<2))
  }
}

/// Which operands of a linear layer's three products have 8 bits.
public enum NarrowProducts: Sendable, Hashable {
  /// Integers: inputs and gradients by row, weights with one scale. The gradient of the weight takes what is stored
  /// (SwitchBack: Wortsman et al., arXiv 2304.13013), or integers by column as well.
  case int8(weightGradients: Bool)
  /// Floats with one scale (Micikevicius et al., arXiv 2209.05433): E4M3 for inputs and weights, E5M2 for gradients.
  case float8(isDelayed: Bool)

  var isFloat8: Bool { if case .float8 = self { true } else { false } }
  var input: Quantize.Format { isFloat8 ? .float8(.float8E4M3) : .int8ByRow }
  var weight: Quantize.Format { isFloat8 ? .float8(.float8E4M3) : .int8 }
  var gradient: Quantize.Format { isFloat8 ? .float8(.float8E5M2) : .int8ByRow }
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
  /// - Parameter history: the name of what delayed scaling remembers of x; nil for scales of x itself.
  func quantize(
    _ x: Value, _ format: Quantize.Format, isCheap: Bool = false, history: String? = nil
  ) throws(KilnError) -> ProductOperand {
    let past = history.map { [self[Parameter("amax.\($0)", Quantize.history, role: .state)]] } ?? []
    let operation = Quantize(format: format, isCheap: isCheap, isDelayed: history != nil)
    let outputs = try record(operation, [x] + past)
    return ProductOperand(outputs[0], scales: outputs[1])
  }
}
