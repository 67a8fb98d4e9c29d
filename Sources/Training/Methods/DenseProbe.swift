import KilnData
import KilnGraph
import KilnKernels
import KilnLayers

/// A model before it becomes sparse, for methods that look at its weights and gradients. All matrices are given by rows,
/// one for each output.
public final class DenseProbe {
  let context: Context
  let model: any LanguageModel
  let projections: [Parameter]
  private let store = ParameterStore()
  private let source: BatchSource
  private let shape: TrainingStep.Shape
  private let seed: UInt64

  init(_ inputs: Inputs, _ configuration: TrainingConfiguration, context: Context) throws(KilnError) {
    self.context = context
    model = inputs.model
    projections = model.parameters.filter { $0.projection != nil }
    source = try inputs.source(configuration)
    shape = TrainingStep.Shape(
      batch: configuration.batch, microBatch: configuration.microBatch ?? configuration.batch, time: inputs.context,
      dropout: 0, clip: nil)
    seed = configuration.seed
    try inputs.fill(store, seed: seed, precision: .fp32, context: context)
  }

  /// Of every projection, by name.
  func weights() throws(KilnError) -> [String: [Float]] {
    try byName { (parameter) throws(KilnError) in try self.store.tensor(parameter) }
  }

  /// Of every projection of another model, which may be sparse: then with zeros.
  func weights(of path: String) throws(KilnError) -> [String: [Float]] {
    let (opened, files) = try ModelFiles.open(path)
    let other = opened.configuration.makeModel()
    let store = ParameterStore()
    try ModelFiles.load(other, from: files, into: store, access: .mapped, context: context)
    let known = Set(other.parameters)
    return try byName { (parameter) throws(KilnError) in
      guard known.contains(parameter) else {
        throw KilnError(
          .argument, "'\(path)' has no '\(parameter.name)' as \(parameter.shape)",
          hint: "--pattern-from takes a model of the same shape")
      }
      return try store.tensor(parameter)
    }
  }

  /// The gradients of the loss of the first batch, in fp32 and without dropout.
  /// - Parameters:
  ///   - direction: where the weights are moved to for it, times `distance`.
  func gradients(
    along direction: [String: [Float]] = [:], by distance: Double = 0
  ) throws(KilnError) -> [String: [Float]] {
    let original = direction.isEmpty ? [:] : try weights()
    let moved = original.map { name, values in
      (name, zip(values, direction[name] ?? []).map { $0 + Float(distance) * $1 })
    }
    try set(Dictionary(uniqueKeysWithValues: moved), in: store)
    let graph = Graph()
    let loss = try model.loss(in: graph, batch: shape.microBatch, time: shape.time, mode: .training(dropout: 0))
    let gradients = try graph.gradients(of: [(loss, graph.unit)], for: projections)
    let plan = try Planner(context: context).plan(graph, outputs: Array(gradients.values))
    let session = try Session(plan, context: context, store: store)
    var sums: [String: [Float]] = [:]
    try session.forEachMicroBatch(of: source.batch(step: 0), shape) { () throws(KilnError) in
      try session.run(step: 0, seed: seed)
      let parts = try byName { parameter in gradients[parameter].map(session.tensor) }
      sums.merge(parts) { zip($0, $1).map { $0 + $1 } }
    }
    try set(original, in: store)
    return sums
  }

  /// Puts matrices into a store.
  func set(_ values: [String: [Float]], in store: ParameterStore) throws(KilnError) {
    for parameter in projections {
      guard let values = values[parameter.name] else { continue }
      let rows = parameter.outputsByInputs(try store.tensor(parameter))
      try context.copy(rows, try Tensor(values, rows.shape))
    }
  }

  func byName(
    _ tensor: (Parameter) throws(KilnError) -> Tensor?
  ) throws(KilnError) -> [String: [Float]] {
    var result: [String: [Float]] = [:]
    for parameter in projections {
      guard let found = try tensor(parameter) else { continue }
      let rows = parameter.outputsByInputs(found)
      let dense = try Tensor(zeros: rows.shape)
      try context.copy(dense, rows)
      result[parameter.name] = dense.floats()
    }
    return result
  }
}

extension PatternChoice.Layer {
  /// The sums of an element's score over each block, by rows of blocks.
  func blockSums(_ format: SparsePattern.Format, _ score: (Int) -> Float) -> [Float] {
    let (block, blocks) = (format.block, format.blocks(rows: rows, columns: columns))
    var sums = [Float](repeating: 0, count: blocks.rows * blocks.columns)
    for row in 0..<rows {
      for column in 0..<columns {
        sums[row / block.rows * blocks.columns + column / block.columns] += score(row * columns + column)
      }
    }
    return sums
  }
}
