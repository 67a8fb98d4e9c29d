import KilnKernels

extension SparsePattern {
  /// Whether the three products of a layer with many rows are faster than with the dense matrix; measured by
  /// `make bench ONLY=sparse`, and the same on every machine, since it decides over bits.
  var isFast: Bool {
    switch format {
    case .blocks(let rows, _): density <= (rows % 16 == 0 ? 0.9 : rows % 4 == 0 ? 0.65 : 0.25)
    case .groups: density <= 0.25
    }
  }
}

extension Graph {
  /// A sparse weight as a dense matrix [rows, columns], made once.
  func dense(_ values: Value) throws(KilnError) -> Value {
    guard let pattern = values.type.pattern else { return values }
    if let known = densified[values] { return known }
    let dense = try record(Scatter(pattern), [values])[0]
    densified[values] = dense
    return dense
  }
}

/// w = the values where they are kept, 0 elsewhere: [rows, columns].
struct Scatter: Operation {
  let pattern: SparsePattern

  init(_ pattern: SparsePattern) { self.pattern = pattern }

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    [TensorType([pattern.rows, pattern.columns], inputs[0].dtype)]
  }

  var rearrangesWeight: Bool { true }

  func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    guard let d = pull.gradients[0] else { return [nil] }
    return [try pull.graph.record(Gather(pattern.whole ?? pattern), [d])[0]]
  }

  /// Keeping the values is enough.
  func recomputation(of output: Int, node: Node) -> (operation: any Operation, inputs: [Value], output: Int)? {
    (self, node.inputs, 0)
  }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.scatter(outputs[0], from: inputs[0], pattern)
  }
}

/// Of the values of a pattern those of the part that products take. The gradient is that of the whole, with what pulls
/// weights towards 0 (Top-KAST: Jayakumar et al., arXiv 2106.03517).
struct Restrict: Operation {
  let pattern, part: SparsePattern

  init(_ pattern: SparsePattern, to part: SparsePattern) {
    self.pattern = pattern
    self.part = part
  }

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [TensorType(part, inputs[0].dtype)] }

  var rearrangesWeight: Bool { true }

  func pullback(_ pull: Pullback) throws(KilnError) -> [Value?] {
    guard let d = pull.gradients[0], pattern.decay > 0 else { return [pull.gradients[0]] }
    return [try pull.graph.record(RestrictBackward(pattern: pattern), [d, pull.node.inputs[0]])[0]]
  }

  /// Keeping all values is enough.
  func recomputation(of output: Int, node: Node) -> (operation: any Operation, inputs: [Value], output: Int)? {
    (self, node.inputs, 0)
  }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.move(outputs[0], part, from: inputs[0], pattern)
  }
}

/// Inputs: the gradient, the values.
struct RestrictBackward: Operation {
  let pattern: SparsePattern

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [inputs[0]] }
  var sharing: [Sharing] { [.continues(0, 0)] }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    let share = pattern.active?.density ?? 1
    try step.context.decay(
      outputs[0], inputs[1], pattern, inside: pattern.decay, beyond: pattern.decay / share)
  }
}

/// The kept elements of a matrix [rows, columns].
struct Gather: Operation {
  let pattern: SparsePattern

  init(_ pattern: SparsePattern) { self.pattern = pattern }

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    [TensorType(pattern.valuesShape, inputs[0].dtype)]
  }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.gather(outputs[0], from: inputs[0], pattern)
  }
}

/// The gradient of a sparse weight where it is kept: that of y = x W^T.
/// Inputs: dy, x; where it accumulates, what it is added to.
struct SparseWeightGradient: Operation {
  let pattern: SparsePattern
  let accumulates: Bool

  init(_ pattern: SparsePattern, accumulates: Bool) {
    self.pattern = pattern
    self.accumulates = accumulates
  }

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] {
    [TensorType(pattern.valuesShape, inputs[0].dtype.wide)]
  }

  var sharing: [Sharing] { accumulates ? [.continues(0, 2)] : [] }

  func work(for inputs: [TensorType]) -> Work {
    let kept = pattern.valuesShape.count
    return Work(
      flops: 2 * inputs[0].shape.rows * kept, bytes: inputs[0].byteCount + inputs[1].byteCount + 4 * kept)
  }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.sparseGradient(
      outputs[0], inputs[0].matrix, inputs[1].matrix, pattern, accumulate: accumulates)
  }
}
