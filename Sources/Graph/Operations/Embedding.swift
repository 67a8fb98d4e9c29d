import KilnKernels

/// y = table[ids] (or y + table[ids]). Inputs: table [v, c], ids [...] (or [t] against a y of [b, t, c]), and the value
/// that the rows are added to.
public struct Lookup: Operation {
  let accumulates: Bool
  /// The type of y, where it is not that of the table: the rows that are taken are converted, not the table.
  let outputType: DType?

  public init(accumulates: Bool = false, outputType: DType? = nil) {
    self.accumulates = accumulates
    self.outputType = outputType
  }

  public func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    let table = inputs[0]
    let ids = inputs[1]
    guard table.shape.rank == 2, ids.dtype == .int32 else {
      throw KilnError(.shape, "the table is \(table), the ids are \(ids)")
    }
    if accumulates { return [inputs[2]] }
    return [TensorType(Shape(ids.shape.extents + [table.shape[1]]), outputType ?? table.dtype)]
  }

  public var sharing: [Sharing] { accumulates ? [.continues(0, 2)] : [] }

  public func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    let inputs = pull.node.inputs
    guard let dy = pull.gradients[0] else { return inputs.map { _ in nil } }
    var gradients = [Value?](repeating: nil, count: inputs.count)
    if pull.needs(0) {
      let backward = LookupBackward(shape: inputs[0].shape, accumulates: pull.gradientExists(0))
      gradients[0] = try pull.graph.record(backward, [dy, inputs[1]] + [pull.absorb(0)].compactMap { $0 })[0]
    }
    if accumulates { gradients[2] = dy }
    return gradients
  }

  public func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.embedding(outputs[0], table: inputs[0], ids: inputs[1], accumulate: accumulates)
  }
}

/// dtable[ids] += dy. Inputs: dy, ids, and the value that is added to.
struct LookupBackward: Operation {
  let shape: Shape
  let accumulates: Bool

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [TensorType(shape, inputs[0].dtype.wide)] }

  var sharing: [Sharing] { accumulates ? [.continues(0, 2)] : [] }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.embeddingBackward(outputs[0], inputs[0], ids: inputs[1], accumulate: accumulates)
  }
}
