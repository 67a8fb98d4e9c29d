import KilnGraph
import KilnKernels

/// Changes the pattern of one weight, in place: a node of a step.
/// Inputs: the weight's values, then the optimizer's states; then, if growth is by it, the gradient of the dense matrix, or
/// the whole matrix with all that waits.
struct ChangePattern: Operation {
  let change: PatternChange
  let weight: Parameter
  let pattern: SparsePattern
  let states: Int

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [] }
  var mutated: [Int] { Array(0...states + (change.growth == .magnitude ? 1 : 0)) }
  var isEager: Bool { true }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    // In query mode nothing has data: no move takes more scratch than that of fp32.
    guard inputs[0].storage != nil else {
      return try move(Tensor(inputs[0].shape, .float32, in: nil), from: pattern, step.context)
    }
    let old = try pattern.copy()
    if change.growth == .magnitude {
      try chooseAnew(inputs[0], whole: inputs[states + 1], step.context)
    } else {
      try exchange(in: step, inputs, old)
    }
    try moveStates(Array(inputs[1..<1 + states]), of: inputs[0].shape, from: old, step.context)
  }

  /// All is chosen anew by the norms of the whole matrix.
  private func chooseAnew(_ values: Tensor, whole: Tensor, _ context: Context) throws(KilnError) {
    try context.insert(values, into: whole, pattern)
    let norms = try norms(of: whole, block: pattern.format.block, context)
    pattern.keep(Selection.largest(pattern.count, of: norms))
    if let active = pattern.active { active.keep(Selection.largest(active.count, of: norms)) }
    let kept = try Tensor(zeros: values.shape, whole.dtype)
    try context.gather(kept, from: whole, pattern)
    try context.copy(values, kept)
  }

  /// Some blocks go, as many come.
  private func exchange(in step: StepContext, _ inputs: [Tensor], _ old: SparsePattern) throws(KilnError) {
    let scores = PatternChange.Scores(
      kept: try norms(of: inputs[0], block: (1, pattern.format.area), step.context),
      isNegative: change.growth == .random && pattern.format.area == 1 ? try signs(of: inputs[0], step.context) : nil,
      growth: try growth(in: step, inputs))
    pattern.keep(change.changed(old, scores, at: step.step))
    try move(inputs[0], from: old, step.context)
  }

  private func move(_ values: Tensor, from old: SparsePattern, _ context: Context) throws(KilnError) {
    try context.move(values, pattern, from: values, old)
  }

  /// States go as weights do; those in blocks of 8 bits as numbers.
  private func moveStates(
    _ states: [Tensor], of shape: Shape, from old: SparsePattern, _ context: Context
  ) throws(KilnError) {
    var isFirst = true
    for (index, state) in states.enumerated() where state.shape == shape {
      if state.dtype == .uint8 {
        let decoded = try Tensor(zeros: shape)
        try context.dequantizeDynamic(decoded, state, scales: states[index + 1], signed: isFirst)
        try move(decoded, from: old, context)
        try context.quantizeDynamic(state, scales: states[index + 1], decoded, signed: isFirst)
      } else {
        try move(state, from: old, context)
      }
      isFirst = false
    }
  }

  private func growth(in step: StepContext, _ inputs: [Tensor]) throws(KilnError) -> [Float] {
    let block = pattern.format.block
    switch change.growth {
    case .gradient, .magnitude: return try norms(of: inputs[states + 1], block: block, step.context)
    case .random:
      let numbers = try Tensor(zeros: [pattern.blocks.rows, pattern.blocks.columns])
      try step.context.randomUniform(numbers, 0..<1, key: step.key(site: weight.randomSite))
      return numbers.floats()
    }
  }

  private func norms(
    of x: Tensor, block: (rows: Int, columns: Int), _ context: Context
  ) throws(KilnError) -> [Float] {
    let norms = try Tensor(
      zeros: [(x.shape[0] + block.rows - 1) / block.rows, (x.shape[1] + block.columns - 1) / block.columns])
    try context.blockNorms(norms, of: x, block: block)
    return norms.floats()
  }

  private func signs(of values: Tensor, _ context: Context) throws(KilnError) -> [Bool] {
    let wide = try Tensor(zeros: values.shape)
    try context.copy(wide, values)
    return wide.floats().map { $0 < 0 }
  }
}
