import Foundation
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers
import KilnTestSupport
import Testing

@testable import KilnTraining

/// Updates on the host: the same bits as on the device, and, delayed, the rule of the paper.
struct HostUpdatesTests: TinyRuns {
  @Test(
    arguments: TrainingConfiguration.OptimizerName.allCases.filter(\.canOffloadStates).map { ($0, Precision.bf16) }
      + Precision.allCases.map { (.adamw, $0) })
  func theBitsStay(_ optimizer: TrainingConfiguration.OptimizerName, _ precision: Precision) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder)
      (configuration.optimizer, configuration.precision) = (optimizer, precision)
      configuration.optimizerState = optimizer.keepsSquaresInBlocks ? .eightBit : .fp32
      configuration.gradClip = optimizer == .lion ? 0 : 1
      configuration.microBatch = optimizer == .adamw ? 2 : nil
      configuration.evalData = configuration.data[0]
      let device = folder.appendingPathComponent("device")
      let expected = bits(try train(configuration, out: device))
      configuration.offload = [.optimizer]
      let host = folder.appendingPathComponent("host")
      // Half of the run on the host, the other as before.
      var metrics = try train(configuration, out: host, stopAfter: 4)
      let point = try TrainingConfiguration.resume(host)
      configuration.offload = []
      metrics += try train(configuration, out: host, resuming: point, threads: 3)
      #expect(bits(metrics) == expected)
      #expect(try weights(host) == weights(device) && checkpoint(host) == checkpoint(device))
    }
  }

  @Test func theDeviceHasNarrowWeightsAlone() throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder)
      (configuration.precision, configuration.width, configuration.heads) = (.bf16, 192, 3)
      let before = try TrainingPlanner().plan(configuration).memory
      configuration.offload = [.optimizer]
      let after = try TrainingPlanner().plan(configuration).memory
      #expect(Double(after[.weights]) < 0.6 * Double(before[.weights]) && after[.states] == 0)
      #expect(after[.host] > before[.weights] + before[.states])
    }
  }

  /// w(t+1) = w(t) - lr g(w(t-1)), from the step on at which it begins.
  @Test func delayedUpdatesFollowTheRule() throws {
    let context = try Context(threads: 2)
    let model = GPT2(try GPT2Configuration(vocabularySize: 64, contextLength: 16, width: 32, layers: 1, heads: 2))
    let tokens = pseudoRandom(2 * 17 * 6, seed: 5).map { Int32(($0 + 1) * 31.9) }
    let source = try BatchSource(Corpus(tokens: tokens), context: 16, batch: 2, order: .sequential)
    let shape = TrainingStep.Shape(batch: 2, microBatch: 2, time: 16, dropout: 0, clip: nil, hasMasters: false)
    let (lr, from) = (0.5, 2)
    func weights(_ store: ParameterStore) throws -> [[Float]] {
      try model.parameters.map { try store.tensor($0).floats() }
    }

    let host = try HostUpdates(SGD(), of: model.parameters, precision: .fp32, delayedFrom: from)
    let device = ParameterStore()
    try model.initialize(host.store, seed: 1, precision: .fp32, context: context)
    try host.open(threads: 2, device: device, isPending: false)
    let step = try TrainingStep(model, host, shape: shape, context: context, store: device)
    // The gradient at any weights: what a step of plain SGD takes away.
    let probe = ParameterStore()
    let plain = try TrainingStep(model, SGD(), shape: shape, context: context, store: probe)
    var expected = try weights(host.store)
    var seen = expected
    for index in 0..<6 {
      #expect(try zip(weights(device).joined(), seen.joined()).allSatisfy { abs($0 - $1) < 1e-5 }, "step \(index)")
      for (parameter, values) in zip(model.parameters, seen) { try probe.tensor(parameter).copy(from: values) }
      _ = try plain.run(source.batch(step: index), step: index, seed: 7, lr: lr, lossScale: 1)
      let changes = try zip(seen, weights(probe)).map { zip($0, $1).map { $1 - $0 } }
      let before = expected
      expected = zip(expected, changes).map { zip($0, $1).map { $0 + $1 } }
      seen = index >= from ? before : expected
      _ = try step.run(source.batch(step: index), step: index, seed: 7, lr: lr, lossScale: 1)
    }
    try host.settle()
    #expect(try zip(weights(host.store).joined(), expected.joined()).allSatisfy { abs($0 - $1) < 1e-5 })
    #expect(zip(seen.joined(), expected.joined()).contains { abs($0 - $1) > 1e-3 }, "nothing was delayed")
  }

  /// Steps whose updates are on their way when the run is interrupted are those of a run that is not.
  @Test(arguments: [Precision.bf16, .fp16, .fp32], [1, 3, 5]) func delayedRunsResume(
    _ precision: Precision, _ stop: Int
  ) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder)
      (configuration.precision, configuration.offload, configuration.delayUpdate) = (precision, [.optimizer], 3)
      let (whole, parts) = (folder.appendingPathComponent("whole"), folder.appendingPathComponent("parts"))
      let expected = try train(configuration, out: whole)
      var metrics = try train(configuration, out: parts, stopAfter: stop)
      let point = try TrainingConfiguration.resume(parts)
      metrics += try train(point.configuration, out: parts, resuming: point, threads: 3)
      #expect(bits(metrics) == bits(expected))
      #expect(try weights(parts) == weights(whole))
      configuration.delayUpdate = nil
      let exact = try train(configuration, out: folder.appendingPathComponent("exact"))
      #expect(bits(Array(exact.prefix(4))) == bits(Array(expected.prefix(4))))
      #expect(bits(exact) != bits(expected))
    }
  }

  @Test func whatCannotBeIsRefused() throws {
    func refusal(_ change: (inout TrainingConfiguration) -> Void) -> String? {
      var configuration = TrainingConfiguration()
      configuration.data = ["text.txt"]
      change(&configuration)
      return #expect(throws: KilnError.self) { try configuration.validate() }?.message
    }
    #expect(refusal { $0.delayUpdate = 3 } == "--delay-update delays updates of the host, and the device makes them")
    #expect(
      refusal { $0.offload = [.states, .optimizer] }
        == "--offload optimizer has the states on the host: 'states' does not go with it")
    #expect(
      refusal { ($0.offload, $0.precision, $0.master) = ([.optimizer], .bf16, .none) }
        == "--offload optimizer keeps fp32 weights on the host, and --master is none")
    #expect(
      refusal { ($0.offload, $0.optimizer) = ([.optimizer], .scheduleFree) }
        == "--offload optimizer means nothing to --optimizer schedule-free")
    #expect(refusal { $0.deviceMemory = 0 } == "--device-memory is 0 bytes")
  }
}
