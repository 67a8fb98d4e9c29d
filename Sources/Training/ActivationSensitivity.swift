import KilnData
import KilnGraph
import KilnKernels
import KilnLayers

/// How much noise in the gradients it makes to keep each activation in few bits, and the bits with which all make least
/// (ActNN: Chen et al., arXiv 2104.14129; GACT: Liu et al., arXiv 2206.11357).
struct ActivationSensitivity {
  struct Entry {
    let name: String
    let count: Int
    /// c, where the squared error of the gradients in b bits is c / (2^b - 1)^2.
    let sensitivity: Double
  }

  var entries: [Entry]

  /// Bits for each, so many on average by elements: all begin with 2, and the change that takes most noise for its bits
  /// comes first.
  func bits(average: Double) -> [String: Int] {
    func noise(_ entry: Entry, _ bits: Int) -> Double {
      let levels = Double(1 << bits - 1)
      return entry.sensitivity / (levels * levels)
    }
    let total = entries.reduce(0) { $0 + $1.count }
    var left = (average - 2) * Double(total)
    var result = Dictionary(uniqueKeysWithValues: entries.map { ($0.name, 2) })
    let changes = entries.flatMap { entry in
      [(2, 4), (4, 8)].map { (low, high) in
        let cost = Double(entry.count * (high - low))
        return (entry: entry, low: low, high: high, cost: cost, worth: (noise(entry, low) - noise(entry, high)) / cost)
      }
    }.sorted { ($0.worth, $1.entry.name, $1.low) > ($1.worth, $0.entry.name, $0.low) }
    for change in changes where change.cost <= left && result[change.entry.name] == change.low {
      result[change.entry.name] = change.high
      left -= change.cost
    }
    return result
  }
}

extension ActivationSensitivity {
  /// Bits at which sensitivity is measured.
  private static let probeBits = 4
  private static let probeTokens = 64

  /// Runs the beginning of the data through the model as training begins with it, once for each activation with that alone
  /// in few bits.
  init(_ inputs: Inputs, _ configuration: TrainingConfiguration, context: Context) throws(KilnError) {
    let store = ParameterStore()
    try inputs.fill(store, seed: configuration.seed, precision: .fp32, context: context)
    let probe = try Probe(inputs, configuration.precision, context: context, store: store)
    entries = []
    let levels = Double(1 << Self.probeBits - 1)
    for kept in CompressActivations(bits: 0, leastCount: 0).values(of: probe.graph) {
      let noise = try probe.noise(CompressActivations(bits: 0, others: [kept.name: Self.probeBits], leastCount: 0))
      entries.append(Entry(name: kept.name, count: kept.value.shape.count, sensitivity: noise * levels * levels))
    }
  }

  /// Forward and backward of a short sequence, and its exact gradients.
  private struct Probe {
    /// Ends in the squared distance of the gradients from the exact ones; attention runs again.
    let graph: Graph
    private let sum: Value
    private let precision: Precision
    private let context: Context
    private let store: ParameterStore
    private let batch: Batch
    private let time: Int

    init(_ inputs: Inputs, _ precision: Precision, context: Context, store: ParameterStore) throws(KilnError) {
      self.precision = precision
      self.context = context
      self.store = store
      let time = min(inputs.context, ActivationSensitivity.probeTokens)
      self.time = time
      batch = try BatchSource(inputs.corpus, context: time, batch: 1, order: .sequential).batch(step: 0)
      // Tables are left out: they are large, and their gradients are sums of what others show already.
      let weights = inputs.model.parameters.filter { $0.shape.rank < 2 || $0.projection != nil }
      let buffers = Dictionary(
        uniqueKeysWithValues: weights.map { ($0, Parameter("exact.\($0.name)", $0.shape, role: .gradient)) })
      func gradients(_ graph: Graph, _ buffers: [Parameter: Parameter]) throws(KilnError) -> [Parameter: Value] {
        let loss = try inputs.model.loss(in: graph, batch: 1, time: time, mode: .training(dropout: 0))
        return try graph.gradients(of: [(loss, graph.unit)], for: weights, into: buffers)
      }
      let noisy = Graph(precision: precision)
      var sum = noisy.input("zero", .scalar(.float64))
      for (weight, gradient) in try gradients(noisy, [:]).sorted(by: { $0.value.id < $1.value.id }) {
        guard let buffer = buffers[weight] else { continue }
        sum = try noisy.record(Deviation(), [sum, gradient, noisy[buffer]])[0]
      }
      let rewritten = Recompute.attention(of: noisy).apply(to: noisy)
      (graph, self.sum) = (rewritten.graph, rewritten[sum])
      let exact = Graph(precision: precision)
      _ = try run(exact, Array(try gradients(exact, buffers).values))
    }

    /// The squared distance of the gradients from the exact ones.
    func noise(_ compression: CompressActivations) throws(KilnError) -> Double {
      let compressed = compression.apply(to: graph)
      return try run(compressed.graph, [compressed[sum]]).tensor(of: compressed[sum]).scalar
    }

    private func run(_ graph: Graph, _ outputs: [Value]) throws(KilnError) -> Session {
      let plan = try Planner(context: context).plan(graph, outputs: outputs)
      let session = try Session(plan, context: context, store: store)
      session.set(
        tokens: batch.inputs, targets: batch.targets, time: time,
        lossScale: (precision.scalesLoss ? 1024 : 1) / Double(max(batch.targetCount, 1)))
      session.input("zero")?.scalar = 0
      try session.run()
      return session
    }
  }

  /// Adds the squared distance of two gradients to a sum. Inputs: the sum (float64), a gradient, which is used up, and the
  /// exact one. Outputs: the sum, and what is left of the gradient.
  private struct Deviation: Operation {
    func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [inputs[0], inputs[1]] }
    var sharing: [Sharing] { [.continues(0, 0), .continues(1, 1)] }
    var isEager: Bool { true }

    func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
      var difference = Context.UpdateOptions()
      difference.lr = 1
      try step.context.sgd(outputs[1], momentum: nil, inputs[2], factor: 0, form: .plain, difference)
      try step.context.sumSquares(outputs[0], outputs[1], accumulate: true)
    }
  }
}
