import KilnKernels

/// y = activation(x).
public struct Activate: Operation {
  let kind: Activation
  public init(_ kind: Activation) { self.kind = kind }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [inputs[0]] }

  public var sharing: [Sharing] { [.allowed(0, 0)] }

  public func recomputation(of output: Int, node: Node) -> (operation: any Operation, inputs: [Value], output: Int)? {
    (self, node.inputs, 0)
  }

  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    guard let dy = pull.gradients[0] else { return [nil] }
    return [try pull.graph.activationBackward(kind, dy, at: pull.saved(pull.node.inputs[0]))]
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.activation(outputs[0], inputs[0], kind)
  }
}

/// dx = dy * activation'(x).
struct ActivateBackward: Operation {
  let kind: Activation
  init(_ kind: Activation) { self.kind = kind }

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [inputs[0]] }

  var sharing: [Sharing] { [.allowed(0, 0)] }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.activationBackward(outputs[0], inputs[0], inputs[1], kind)
  }
}

/// y = silu(gate) * up.
public struct SwiGLU: Operation {
  public init() {}

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    guard inputs[0] == inputs[1] else { throw KilnError(.shape, "gate is \(inputs[0]), up is \(inputs[1])") }
    return [inputs[0]]
  }

  public var sharing: [Sharing] { [.allowed(0, 0), .allowed(0, 1)] }

  public func recomputation(of output: Int, node: Node) -> (operation: any Operation, inputs: [Value], output: Int)? {
    (self, node.inputs, 0)
  }

  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    guard let dy = pull.gradients[0] else { return [nil, nil] }
    return try pull.graph.record(SwiGLUBackward(), [dy] + pull.node.inputs)
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.swiglu(outputs[0], gate: inputs[0], up: inputs[1])
  }
}

/// Inputs dy, gate, up; outputs dgate, dup.
struct SwiGLUBackward: Operation {
  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [inputs[1], inputs[2]] }

  var sharing: [Sharing] { [.allowed(0, 1), .allowed(1, 2)] }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.swigluBackward(dgate: outputs[0], dup: outputs[1], inputs[0], gate: inputs[1], up: inputs[2])
  }
}

/// y = x * keep / (1 - probability); the mask is a function of (seed, step, site), so the backward draws it again.
public struct Dropout: Operation {
  let probability: Float
  let site: UInt32

  public init(probability: Float, site: UInt32) {
    self.probability = probability
    self.site = site
  }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [inputs[0]] }

  public var sharing: [Sharing] { [.allowed(0, 0)] }

  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    guard let dy = pull.gradients[0] else { return [nil] }
    return try pull.graph.record(self, [dy])
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.dropout(outputs[0], inputs[0], probability: probability, key: step.key(site: site))
  }
}
