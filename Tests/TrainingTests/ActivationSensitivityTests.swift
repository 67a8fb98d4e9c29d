import Foundation
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers
import Testing

@testable import KilnTraining

/// Bits by sensitivity: less noise than the same bits for all, within the same memory.
struct ActivationSensitivityTests: TinyRuns {
  @Test func theMostSensitiveGetTheMostBits() {
    let sensitivities = [1e4, 1e-4, 1, 1, 300]
    let entries = sensitivities.enumerated().map {
      ActivationSensitivity.Entry(name: "\($0)", count: 1000, sensitivity: $1)
    }
    var sensitivity = ActivationSensitivity(entries: entries)
    for average in [2, 2.5, 3, 4, 6, 8] {
      let bits = sensitivity.bits(average: average)
      let given = (0..<5).compactMap { bits["\($0)"] }
      #expect(given.count == 5 && Double(given.reduce(0, +)) <= 5 * average)
      #expect(given[0] >= given[4] && given[4] >= given[2] && given[2] >= given[1])
    }
    #expect(sensitivity.bits(average: 4) == ["0": 8, "1": 2, "2": 2, "3": 2, "4": 4].merging(["2": 4]) { $1 })
    #expect(Set(sensitivity.bits(average: 8).values) == [8])
    // A large one takes more of what there is.
    sensitivity.entries.append(.init(name: "large", count: 100_000, sensitivity: 10))
    #expect(sensitivity.bits(average: 2.1)["large"] == 2)
  }

  private func configured(in folder: URL, _ bits: ActivationBits?) throws -> TrainingConfiguration {
    var configuration = try configuration(in: folder, steps: 6)
    (configuration.layers, configuration.width, configuration.heads) = (3, 64, 2)
    configuration.dropout = 0
    configuration.compressActivations = bits
    return configuration
  }

  /// Where bits do most good there is less noise than where they do least, for the same number of them.
  @Test(arguments: [Precision.fp32, .bf16]) func thereIsLessNoise(_ precision: Precision) throws {
    try withTemporaryFolder { folder in
      var configuration = try configured(in: folder, nil)
      configuration.precision = precision
      let context = try Context(threads: 2)
      let inputs = try Inputs(configuration, resuming: nil, kernels: Context())
      let source = try BatchSource(inputs.corpus, context: 32, batch: 4, order: .sequential)
      func gradients(_ bits: [String: Int]?, seed: UInt64 = 0) throws -> [Float] {
        let shape = TrainingStep.Shape(batch: 4, microBatch: 4, time: 32, dropout: 0, clip: nil, precision: precision)
        var graphs = try StepGraphs(inputs.model, SGD(), shape)
        if let bits { graphs = graphs.compressingActivations(CompressActivations(bits: 2, others: bits)) }
        let plan = try StepPlan(graphs, inputs.model, SGD(), planner: Planner(context: context))
        let store = ParameterStore()
        try inputs.model.initialize(store, seed: 0, precision: .fp32, context: context)
        let arena = try Storage(byteCount: plan.gradient.arenaBytes)
        let step = try TrainingStep(plan, inputs.model, SGD(), context: context, store: store, arena: arena)
        _ = try step.run(source.batch(step: 3), step: 0, seed: seed, lr: 1, lossScale: 1)
        return try inputs.model.parameters.flatMap { try store.tensor($0).floats() }
      }
      let exact = try gradients(nil)
      func noise(_ bits: [String: Int]) throws -> Double {
        var sum = 0.0
        for seed in 0..<6 {
          for (noisy, exact) in zip(try gradients(bits, seed: UInt64(seed)), exact) {
            let error = Double(noisy - exact)
            sum += error * error
          }
        }
        return sum
      }
      var sensitivity = try ActivationSensitivity(inputs, configuration, context: context)
      #expect(sensitivity.entries.count > 3 * 4 && sensitivity.entries.allSatisfy { $0.sensitivity > 0 })
      let best = try noise(sensitivity.bits(average: 3))
      sensitivity.entries = sensitivity.entries.map {
        .init(name: $0.name, count: $0.count, sensitivity: 1 / $0.sensitivity)
      }
      let worst = try noise(sensitivity.bits(average: 3))
      #expect(best < 0.7 * worst, "\(best) beside \(worst)")
    }
  }

  /// What was measured is part of a run: a checkpoint has it.
  @Test func resumingGivesTheSameBits() throws {
    try withTemporaryFolder { folder in
      let configuration = try configured(in: folder, .allotted(average: 3))
      let (whole, parts) = (folder.appendingPathComponent("whole"), folder.appendingPathComponent("parts"))
      let expected = try train(configuration, out: whole)
      var metrics = try train(configuration, out: parts, stopAfter: 3)
      let point = try TrainingConfiguration.resume(parts)
      #expect(point.configuration.compressActivations == .allotted(average: 3))
      metrics += try train(point.configuration, out: parts, resuming: point, threads: 3)
      #expect(bits(metrics) == bits(expected))
      #expect(try weights(parts) == weights(whole))
      // No more than the same bits for all take.
      let allotted = try TrainingPlanner().plan(configuration).gradient.arenaBytes
      #expect(try allotted <= TrainingPlanner().plan(configured(in: folder, .uniform(4))).gradient.arenaBytes)
    }
  }

  @Test func asText() {
    for text in ["8", "4", "2", "auto-3", "auto-2.5"] { #expect(ActivationBits(text)?.description == text) }
    for text in ["3", "auto", "auto-1", "auto-9", "auto-nan", ""] { #expect(ActivationBits(text) == nil) }
  }
}
