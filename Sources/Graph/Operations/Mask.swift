import KilnKernels

/// That products take the largest N of each M of a weight along its inputs, and what the others feel of it.
public struct GroupMask: Sendable, Hashable {
  public var kept: Int
  public var group: Int
  /// What pulls weights towards 0 that are not taken, as a gradient of so many times the weight.
  public var decay: Double

  public init(kept: Int, of group: Int, decay: Double) {
    self.kept = kept
    self.group = group
    self.decay = decay
  }
}

/// y = x where it is taken, 0 elsewhere. The gradient passes straight through, with the decay where x is not taken.
public struct MaskGroups: Operation {
  let mask: GroupMask
  /// Whether columns are the outputs.
  let splitsColumns: Bool

  public init(_ mask: GroupMask, splitsColumns: Bool) {
    self.mask = mask
    self.splitsColumns = splitsColumns
  }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [inputs[0]] }

  public var rearrangesWeight: Bool { true }

  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    guard let d = pull.gradients[0] else { return [nil] }
    let backward = MaskGroupsBackward(mask: mask, splitsColumns: splitsColumns)
    return [try pull.graph.record(backward, [d, pull.node.inputs[0], pull.graph.penaltyScale])[0]]
  }

  /// Keeping the weight is enough.
  public func recomputation(of output: Int, node: Node) -> (operation: any Operation, inputs: [Value], output: Int)? {
    (self, node.inputs, 0)
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let (y, x) = splitsColumns ? (outputs[0].transposed, inputs[0].transposed) : (outputs[0], inputs[0])
    try step.context.maskGroups(y, x, kept: mask.kept, of: mask.group)
  }
}

/// Inputs: dy, x, the factor of the decay.
struct MaskGroupsBackward: Operation {
  let mask: GroupMask
  let splitsColumns: Bool

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [inputs[0]] }

  var sharing: [Sharing] { [.allowed(0, 0)] }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let tensors = [outputs[0], inputs[0], inputs[1]].map { splitsColumns ? $0.transposed : $0 }
    try step.context.maskGroupsBackward(
      tensors[0], tensors[1], tensors[2], kept: mask.kept, of: mask.group, decay: mask.decay * inputs[2].factor)
  }
}
