import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers
import KilnTestSupport
import Testing

@testable import KilnTraining

/// Activations in few bits: gradients that are right on average, the closer the more bits, from less memory.
struct CompressionTests {
  private struct Run {
    var losses: [Double] = []
    var gradient: [Float] = []
    var arena = 0
  }

  private let model = GPT2(
    (try? GPT2Configuration(vocabularySize: 64, contextLength: 32, width: 64, layers: 3, heads: 2))!)

  /// The loss and the sum of a matrix's gradients over seeds, by a step of plain SGD that only that shows in.
  private func run(bits: Int?, seeds: Range<UInt64>, precision: Precision = .fp32) throws -> Run {
    let context = try Context(threads: 2)
    let store = ParameterStore()
    let shape = TrainingStep.Shape(batch: 4, microBatch: 4, time: 32, dropout: 0, clip: nil, precision: precision)
    let optimizer = try SGD()
    var graphs = try StepGraphs(model, optimizer, shape)
    if let bits { graphs = graphs.compressingActivations(.init(bits: bits)) }
    let plan = try StepPlan(graphs, model, optimizer, planner: Planner(context: context))
    let step = try TrainingStep(
      plan, model, optimizer, context: context, store: store, arena: Storage(byteCount: plan.gradient.arenaBytes))
    let tokens = pseudoRandom(4 * 33, seed: 5).map { Int32(($0 + 1) * 31.9) }
    let source = try BatchSource(Corpus(tokens: tokens), context: 32, batch: 4, order: .sequential)
    let matrix = try #require(model.parameters.first { $0.name.hasSuffix("h.1.mlp.c_fc.weight") })
    var result = Run(arena: plan.gradient.arenaBytes)
    for seed in seeds {
      try model.initialize(store, seed: 1, precision: .fp32, context: context)
      let before = try store.tensor(matrix).floats()
      result.losses.append(try step.run(source.batch(step: 0), step: 0, seed: seed, lr: 1, lossScale: 1).loss)
      let change = zip(before, try store.tensor(matrix).floats()).map { $0 - $1 }
      result.gradient = result.gradient.isEmpty ? change : zip(result.gradient, change).map { $0 + $1 }
    }
    result.gradient = result.gradient.map { $0 / Float(seeds.count) }
    return result
  }

  /// |a - b| / |b|.
  private func distance(_ a: [Float], _ b: [Float]) -> Double {
    let square = zip(a, b).reduce(0.0) { $0 + Double($1.0 - $1.1) * Double($1.0 - $1.1) }
    return (square / b.reduce(0.0) { $0 + Double($1) * Double($1) }).squareRoot()
  }

  @Test func gradientsAreRightOnAverage() throws {
    let exact = try run(bits: nil, seeds: 0..<1)
    var before = Int.max
    for (bits, once) in [(8, 0.02), (4, 0.3), (2, 2.0)] {
      let single = try run(bits: bits, seeds: 0..<1)
      #expect(single.losses == exact.losses, "the forward has changed")
      #expect(single.gradient != exact.gradient)
      #expect(single.arena < exact.arena)
      let noise = distance(single.gradient, exact.gradient)
      let mean = distance(try run(bits: bits, seeds: 0..<64).gradient, exact.gradient)
      #expect(noise < once, "\(bits) bits: \(noise)")
      // 64 samples make the noise of the mean an eighth, but for what is not linear in the activations: the slope of the
      // GELU and attention, which 2 bits shift.
      #expect(mean < noise / (bits == 2 ? 1.5 : 4), "\(bits) bits: \(mean) of \(noise)")
      #expect(single.arena <= before)
      before = single.arena
    }
  }

  @Test(arguments: [Precision.bf16, .fp16, .int8, .fp8Delayed]) func otherPrecisions(_ precision: Precision) throws {
    let exact = try run(bits: nil, seeds: 0..<1, precision: precision)
    let single = try run(bits: 8, seeds: 0..<1, precision: precision)
    #expect(single.losses == exact.losses && single.gradient != exact.gradient)
    #expect(distance(single.gradient, exact.gradient) < 0.1)
  }
}
