import KilnKernels

/// y = a + b.
public struct Add: Operation {
  /// Writes over `a` rather than beside it, as a running sum does.
  let continuing: Bool

  public init(continuing: Bool = false) { self.continuing = continuing }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    guard inputs.count == 2, inputs[0] == inputs[1] else {
      throw KilnError(.shape, "the terms differ: \(inputs.map(\.description).joined(separator: " and "))")
    }
    return [inputs[0]]
  }

  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] { [pull.gradients[0], pull.gradients[0]] }

  public var sharing: [Sharing] { continuing ? [.continues(0, 0)] : [.allowed(0, 0), .allowed(0, 1)] }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.add(outputs[0], continuing ? outputs[0] : inputs[0], inputs[1])
  }
}

/// Sets a persistent tensor to zero.
public struct Clear: Operation {
  public init() {}
  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [] }
  public var mutated: [Int] { [0] }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.fill(inputs[0], 0)
  }
}

/// sum' = sum + |x|^2 in fp64, and a gate of 1 that whoever applies x waits for. Not finite is an error that says so,
/// unless x may overflow.
public struct SquaredNorm: Operation {
  /// What x is, for the message.
  let subject: String
  let mayOverflow: Bool

  public init(of subject: String, mayOverflow: Bool = false) {
    self.subject = subject
    self.mayOverflow = mayOverflow
  }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    [.scalar(.float64), .scalar(.float64)]
  }

  public var sharing: [Sharing] { [.continues(0, 0)] }
  public var isEager: Bool { true }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.sumSquares(outputs[0], inputs[1], accumulate: true)
    guard inputs[1].storage != nil else { return }
    guard mayOverflow || outputs[0].scalar.isFinite else { throw KilnError(.numerics, "\(subject) is not finite") }
    outputs[1].scalar = 1
  }
}

/// norm = unscale sqrt(sum), scale = unscale min(1, limit / (norm + 1e-6)): clipping by the global norm, as a factor
/// for the updates of gradients that lack the factor `unscale`. Where the norm is not finite the scale is 0.
/// Inputs: sum, and unscale, which is 1 if left out.
public struct ClipScale: Operation {
  let limit: Double?

  /// - Parameter limit: nil leaves gradients as they are: the scale is 1.
  public init(limit: Double?) { self.limit = limit }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    [.scalar(.float64), .scalar(.float64)]
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    guard inputs[0].storage != nil else { return }
    let unscale = inputs.count > 1 ? inputs[1].scalar : 1
    let norm = inputs[0].scalar.squareRoot() * unscale
    outputs[0].scalar = norm
    outputs[1].scalar = norm.isFinite ? unscale * (limit.map { min(1, $0 / (norm + 1e-6)) } ?? 1) : 0
  }
}

/// Stops the run where a scalar is not finite.
public struct FiniteCheck: Operation {
  let subject: String

  public init(of subject: String) { self.subject = subject }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [] }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    guard inputs[0].storage != nil, !inputs[0].scalar.isFinite else { return }
    throw KilnError(.numerics, "\(subject) is \(inputs[0].scalar)")
  }
}
