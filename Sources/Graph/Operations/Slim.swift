import KilnKernels

/// That groups of a weight's inputs have learned factors, and what pulls those towards 0: network slimming (Liu et al.,
/// arXiv 1708.06519).
public struct Slimming: Sendable, Hashable {
  /// Inputs that share a factor.
  public var group: Int
  /// Of the absolute values of the factors, in the loss.
  public var penalty: Double

  public init(group: Int, penalty: Double) {
    self.group = group
    self.penalty = penalty
  }
}

extension Parameter {
  /// The factors of its inputs [inputs / group], which start at 1; nil for a weight without.
  public var factors: Parameter? {
    guard let projection, let slimming = projection.slimming else { return nil }
    let inputs = denseShape[projection.splitsColumns ? 0 : 1]
    return Parameter(name + ".factors", [inputs / slimming.group])
  }
}

/// y = w with each input times its factor. Inputs: w, its factors.
public struct Slim: Operation {
  let penalty: Double
  /// Whether columns are the outputs.
  let splitsColumns: Bool

  public init(_ slimming: Slimming, splitsColumns: Bool) {
    penalty = slimming.penalty
    self.splitsColumns = splitsColumns
  }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [inputs[0]] }

  public var rearrangesWeight: Bool { true }

  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    guard let d = pull.gradients[0] else { return [nil, nil] }
    let backward = SlimBackward(forward: self)
    return try pull.graph.record(backward, [d] + pull.node.inputs + [pull.graph.penaltyScale]).map { $0 }
  }

  /// Keeping the weight is enough.
  public func recomputation(of output: Int, node: Node) -> (operation: any Operation, inputs: [Value], output: Int)? {
    (self, node.inputs, 0)
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.slim(byRows(outputs[0]), byRows(inputs[0]), factors: inputs[1])
  }

  /// With a row for each output.
  fileprivate func byRows(_ tensor: Tensor) -> Tensor { splitsColumns ? tensor.transposed : tensor }
}

/// Inputs: dy, w, its factors, the factor of the penalty. Outputs: the gradients of w and of the factors.
struct SlimBackward: Operation {
  let forward: Slim

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    [inputs[0], TensorType(inputs[2].shape, inputs[2].dtype.wide)]
  }

  var sharing: [Sharing] { [.allowed(0, 0)] }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.slimBackward(
      forward.byRows(outputs[0]), dFactors: outputs[1], forward.byRows(inputs[0]), forward.byRows(inputs[1]),
      factors: inputs[2], penalty: forward.penalty * inputs[3].factor)
  }
}
