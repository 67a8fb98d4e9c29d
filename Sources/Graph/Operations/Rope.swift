import KilnKernels

/// x [b, t, heads * d] rotated by its positions [t]; the same type turns gradients back.
public struct Rotate: Operation {
  let heads: Int
  let frequencies: RotaryFrequencies
  let backward: Bool

  public init(heads: Int, _ frequencies: RotaryFrequencies) {
    self.init(heads: heads, frequencies, backward: false)
  }

  private init(heads: Int, _ frequencies: RotaryFrequencies, backward: Bool) {
    self.heads = heads
    self.frequencies = frequencies
    self.backward = backward
  }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    let x = inputs[0]
    let positions = inputs[1]
    guard x.shape.rank == 3, x.shape.last % (2 * heads) == 0, positions.shape == [x.shape[1]] else {
      throw KilnError(.shape, "x is \(x) of \(heads) heads, the positions are \(positions)")
    }
    return [x]
  }

  public var sharing: [Sharing] { [.allowed(0, 0)] }

  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    guard let dy = pull.gradients[0] else { return [nil, nil] }
    let back = Rotate(heads: heads, frequencies, backward: true)
    return [try pull.graph.record(back, [dy, pull.node.inputs[1]])[0], nil]
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let y = outputs[0].split(last: heads)
    let x = inputs[0].split(last: heads)
    if backward {
      try step.context.ropeBackward(y, x, positions: inputs[1], frequencies)
    } else {
      try step.context.rope(y, x, positions: inputs[1], frequencies)
    }
  }
}
