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
    if let pretrained = inputs.pretrained {
      try ModelFiles.load(
        inputs.model, from: pretrained, into: store, access: .copied, precision: .fp32, context: context)
    } else {
      try inputs.model.initialize(store, seed: configuration.seed, precision: .fp32, context: context)
    }
    let probe = try Probe(inputs, configuration.precision, context: context, store: store)
    try probe.run(exact: true, CompressActivations(bits: 0))
    entries = []
    let levels = Double(1 << Self.probeBits - 1)
    for value in try probe.values {
      let compression = CompressActivations(bits: 0, others: [value.name: Self.probeBits], leastCount: 0)
      let noise = try probe.run(exact: false, compression)
      entries.append(Entry(name: value.name, count: value.count, sensitivity: noise * levels * levels))
    }
  }

  /// Forward and backward of a short sequence.
  private final class Probe {
    private let inputs: Inputs
    private let precision: Precision
    private let context: Context
    private let store: ParameterStore
    private let batch: Batch
    private let time: Int
    private let buffers: [Parameter: Parameter]

    init(_ inputs: Inputs, _ precision: Precision, context: Context, store: ParameterStore) throws(KilnError) {
      self.inputs = inputs
      self.precision = precision
      self.context = context
      self.store = store
      time = min(inputs.context, ActivationSensitivity.probeTokens)
      batch = try BatchSource(inputs.corpus, context: time, batch: 1, order: .sequential).batch(step: 0)
      // Tables are left out: they are large, and their gradients are sums of what others show already.
      buffers = Dictionary(
        uniqueKeysWithValues: inputs.model.parameters.filter { $0.shape.rank < 2 || $0.projection != nil }.map {
          ($0, Parameter("exact.\($0.name)", $0.shape, role: .gradient))
        })
    }

    private func record(exact: Bool) throws(KilnError) -> (graph: Graph, outputs: [Value]) {
      let graph = Graph(precision: precision)
      let loss = try inputs.model.loss(in: graph, batch: 1, time: time, mode: .training(dropout: 0))
      let weights = buffers.keys.sorted { $0.name < $1.name }
      let gradients = try graph.gradients(of: [(loss, graph.unit)], for: weights, into: exact ? buffers : [:])
      if exact { return (graph, gradients.values.sorted { $0.id < $1.id }) }
      var sum = graph.input("zero", .scalar(.float64))
      for (weight, gradient) in gradients.sorted(by: { $0.value.id < $1.value.id }) {
        guard let buffer = buffers[weight] else { continue }
        sum = try graph.record(Deviation(), [sum, gradient, graph[buffer]])[0]
      }
      return (graph, [sum])
    }

    /// What can be kept in few bits.
    var values: [(name: String, count: Int)] {
      get throws(KilnError) {
        let (graph, _) = try record(exact: false)
        let rewritten = Recompute.attention(of: graph).apply(to: graph).graph
        return CompressActivations(bits: 0, leastCount: 0).values(of: rewritten).map { ($0.name, $0.value.shape.count) }
      }
    }

    /// The squared distance of the gradients from the exact ones, or, for these, 0.
    @discardableResult
    func run(exact: Bool, _ compression: CompressActivations) throws(KilnError) -> Double {
      let (graph, outputs) = try record(exact: exact)
      let attention = Recompute.attention(of: graph).apply(to: graph)
      let compressed = compression.apply(to: attention.graph)
      let results = outputs.map { compressed[attention[$0]] }
      let plan = try Planner(context: context).plan(compressed.graph, outputs: results)
      let session = try Session(plan, context: context, store: store)
      session.set(
        tokens: batch.inputs, targets: batch.targets, time: time,
        lossScale: (precision.scalesLoss ? 1024 : 1) / Double(max(batch.targetCount, 1)))
      session.input("zero")?.scalar = 0
      try session.run()
      return exact ? 0 : session.tensor(of: results[0]).scalar
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
