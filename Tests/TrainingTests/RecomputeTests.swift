import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers
import KilnTestSupport
import Testing

@testable import KilnTraining

/// Rematerialisation: the same bits with less memory.
struct RecomputeTests {
  private static let layers = 6

  private func model(_ architecture: TrainingConfiguration.Architecture) throws -> any LanguageModel {
    switch architecture {
    case .gpt2:
      GPT2(try GPT2Configuration(vocabularySize: 64, contextLength: 32, width: 32, layers: Self.layers, heads: 2))
    case .llama:
      Llama(
        try LlamaConfiguration(
          vocabularySize: 64, contextLength: 32, width: 32, hidden: 96, layers: Self.layers, heads: 2, kvHeads: 1,
          rmsNormEpsilon: 1e-5, tiesWordEmbeddings: false))
    }
  }

  private struct Outcome: Equatable {
    var losses: [Double] = []
    var norms: [Double?] = []
    var weights: [[UInt8]] = []
  }

  private func train(
    _ model: any LanguageModel, _ precision: Precision, clip: Double? = nil, microBatch: Int = 4,
    rewrite: (Graph) -> Recompute?
  ) throws -> (outcome: Outcome, arena: Int) {
    let context = try Context(threads: 2)
    let store = ParameterStore()
    try model.initialize(store, seed: 1, precision: .fp32, context: context)
    let shape = TrainingStep.Shape(
      batch: 4, microBatch: microBatch, time: 32, dropout: 0.1, clip: clip, precision: precision)
    let optimizer = try Adam(betas: (0.9, 0.95), eps: 1e-8, weightDecay: 0.1, decoupled: true)
    let step = try TrainingStep(model, optimizer, shape: shape, rewrite: rewrite, context: context, store: store)
    let tokens = pseudoRandom(4 * 33 * 3, seed: 5).map { Int32(($0 + 1) * 31.9) }
    let source = try BatchSource(Corpus(tokens: tokens), context: 32, batch: 4, order: .sequential)
    var outcome = Outcome()
    for index in 0..<3 {
      let result = try step.run(
        source.batch(step: index), step: index, seed: 7, lr: 1e-2, lossScale: precision.scalesLoss ? 1024 : 1)
      outcome.losses.append(result.loss)
      outcome.norms.append(result.gradNorm)
    }
    outcome.weights = try model.parameters.map { try store.tensor($0).withBytes { [UInt8]($0) } }
    return (outcome, step.arenaBytes)
  }

  @Test(arguments: [TrainingConfiguration.Architecture.gpt2, .llama], Precision.allCases)
  func theBitsStay(_ architecture: TrainingConfiguration.Architecture, _ precision: Precision) throws {
    let model = try model(architecture)
    let plain = try train(model, precision) { _ in nil }
    #expect(Set(plain.outcome.losses).count == 3)
    let ways: [Recomputation] = [.attention, .every(1), .every(2), .squareRoot]
    for way in ways {
      let again = try train(model, precision) { way.rewrite(of: $0) }
      #expect(again.outcome == plain.outcome, "\(way)")
      #expect(way == .attention ? again.arena <= plain.arena : again.arena < plain.arena, "\(way)")
    }
  }

  @Test(arguments: [4, 2]) func theBitsStayWithClippingAndMicroBatches(_ microBatch: Int) throws {
    let model = try model(.gpt2)
    let plain = try train(model, .bf16, clip: 0.5, microBatch: microBatch) { _ in nil }
    let again = try train(model, .bf16, clip: 0.5, microBatch: microBatch) { .every(2, layersOf: $0) }
    #expect(again.outcome == plain.outcome)
  }

  /// The optimal schedules: ever less memory for ever more operations, and the same bits.
  @Test func optimalSchedules() throws {
    let model = try model(.gpt2)
    let plain = try train(model, .fp32) { _ in nil }
    func schedules(_ graph: Graph, _ outputs: [Value]) -> RecomputeSchedules {
      RecomputeSchedules(for: graph, outputs: outputs) { Rates.nominal.seconds($0) }
    }
    let shape = TrainingStep.Shape(batch: 4, microBatch: 4, time: 32, dropout: 0.1, clip: nil)
    let graphs = try StepGraphs(model, try SGD(), shape)
    let planner = Planner(context: try Context(threads: 2))
    let all = schedules(graphs.gradient.graph, graphs.gradient.outputs)
    let plans = try (0..<all.count).map { index in
      let part = graphs.rewritten(by: all[index]).gradient
      return try planner.plan(part.graph, outputs: part.outputs)
    }
    let count = plans.count
    #expect(count > 3)
    let unrewritten = try planner.plan(graphs.gradient.graph, outputs: graphs.gradient.outputs)
    #expect(plans[0].flops == unrewritten.flops)
    #expect(plans[count - 1].flops > unrewritten.flops && plans[count - 1].flops < 2 * unrewritten.flops)
    #expect(plans[count - 1].arenaBytes * 10 < unrewritten.arenaBytes * 6)
    for index in [0, count / 2, count - 1] {
      let again = try train(model, .fp32) { graph in
        // Schedules are of forward and backward, whatever comes after.
        schedules(graph, graph.nodes.filter { $0.outputs.isEmpty }.flatMap(\.inputs))[min(index, count - 1)]
      }
      #expect(again.outcome == plain.outcome, "schedule \(index)")
    }
  }
}
