import KilnKernels

/// What a step computes in (mixed precision: Micikevicius et al., arXiv 1710.03740).
public enum Precision: String, Sendable, Hashable, Codable, CaseIterable {
  case fp32
  /// Matrices, activations and their gradients in bf16. Vectors of parameters, all gradients of parameters, sums,
  /// statistics and losses stay in fp32, and so do the optimizer's states and the weights that it updates.
  case bf16
  /// The same in fp16: 3 bits more than bf16, but numbers from 2^-24 to 65504 alone, so the loss is scaled.
  case fp16
  /// As bf16, but the linear layers multiply numbers of 8 bits (see `NarrowProducts`): integers, with gradients of
  /// weights in bf16 (SwitchBack); with the head as well; all products.
  case int8
  case int8Head = "int8-head"
  case int8All = "int8-all"
  /// Or floats, scaled by their own largest magnitude, or by that of the passes before.
  case fp8
  case fp8Delayed = "fp8-delayed"

  /// The type of matrices and activations.
  public var dtype: DType {
    switch self {
    case .fp32: .float32
    case .bf16, .int8, .int8Head, .int8All, .fp8, .fp8Delayed: .bfloat16
    case .fp16: .float16
    }
  }

  /// What the linear layers multiply, where it is not what is stored.
  public var products: NarrowProducts? {
    switch self {
    case .fp32, .bf16, .fp16: nil
    case .int8, .int8Head: .int8(weightGradients: false)
    case .int8All: .int8(weightGradients: true)
    case .fp8: .float8(isDelayed: false)
    case .fp8Delayed: .float8(isDelayed: true)
    }
  }

  /// The same for the output projection.
  public var headProducts: NarrowProducts? { self == .int8Head || self == .int8All ? products : nil }

  /// Whether gradients are too small for its type unless the loss is multiplied by a factor, which is searched for:
  /// gradients may then overflow, and the step is skipped.
  public var scalesLoss: Bool { self == .fp16 }

  /// The same without a past.
  public var forInference: Precision { self == .fp8Delayed ? .fp8 : self }

  /// The parameter as products take it: matrices in this precision, vectors as they are.
  public func operand(_ parameter: Parameter) -> Parameter {
    parameter.shape.rank >= 2 ? parameter.of(dtype) : parameter
  }
}

/// y = x in another type. The gradient of x is that of y, whatever its type, so that it accumulates as x's own.
public struct Convert: Operation {
  let dtype: DType

  public init(to dtype: DType) { self.dtype = dtype }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    [inputs[0].of(dtype)]
  }

  public var passesGradient: Bool { true }

  /// Keeping the fp32 weights is enough.
  public func recomputation(of output: Int, node: Node) -> (operation: any Operation, inputs: [Value], output: Int)? {
    (self, node.inputs, 0)
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.copy(outputs[0], inputs[0])
  }
}
