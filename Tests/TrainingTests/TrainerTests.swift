import Foundation
import KilnCheckpoints
import KilnData
import KilnGraph
import KilnKernels
import KilnOptimizers
import Testing

@testable import KilnTraining

/// Whole runs: the same bits for any thread count and after any interruption, and faults that are found and not saved.
struct TrainerTests: TinyRuns {
  @Test(arguments: Precision.allCases) func sameBitsForAnyNumberOfThreads(_ precision: Precision) throws {
    try withTemporaryFolder { folder in
      for architecture in TrainingConfiguration.Architecture.allCases {
        for clip in [0, 1.0] {
          var configuration = try configuration(in: folder, steps: 4)
          configuration.arch = architecture
          configuration.gradClip = clip
          configuration.precision = precision
          var first: (metrics: [[UInt64]], weights: Data)?
          for threads in [1, 2, 3, 7] {
            let out = folder.appendingPathComponent("\(architecture)-\(clip)-\(threads)")
            let metrics = bits(try train(configuration, out: out, threads: threads))
            if let first {
              #expect(first.metrics == metrics, "\(architecture), clip \(clip), \(threads) threads")
              #expect(try first.weights == weights(out), "\(architecture), clip \(clip), \(threads) threads")
            } else {
              first = (metrics, try weights(out))
            }
          }
        }
      }
    }
  }

  /// Narrow states take their share of the memory, are the same after a resume, and learn as fp32's do.
  @Test(arguments: [TrainingConfiguration.OptimizerName.adamw, .lion], StateFormat.allCases.filter { $0 != .linear })
  func statesInEveryFormat(_ optimizer: TrainingConfiguration.OptimizerName, _ format: StateFormat) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder)
      configuration.optimizer = optimizer
      let wide = try train(configuration, out: folder.appendingPathComponent("wide"))
      configuration.optimizerState = format
      let (whole, parts) = (folder.appendingPathComponent("whole"), folder.appendingPathComponent("parts"))
      let expected = try train(configuration, out: whole)
      var metrics = try train(configuration, out: parts, stopAfter: 3)
      metrics += try train(configuration, out: parts, resuming: TrainingConfiguration.resume(parts), threads: 3)
      #expect(bits(metrics) == bits(expected))
      #expect(try weights(parts) == weights(whole))
      for (narrow, wide) in zip(expected, wide) { #expect(abs(narrow.loss / wide.loss - 1) < 5e-3) }
      #expect((bits(expected) == bits(wide)) == (format == .fp32))
    }
  }

  /// Every optimizer in fp32 and where steps may be skipped, and every precision.
  @Test(
    arguments: TrainingConfiguration.OptimizerName.allCases.flatMap { [($0, Precision.fp32), ($0, .fp16)] }
      + Precision.allCases.map { (.adamw, $0) })
  func resumingGivesTheSameBits(_ optimizer: TrainingConfiguration.OptimizerName, _ precision: Precision) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder)
      configuration.optimizer = optimizer
      configuration.precision = precision
      configuration.microBatch = optimizer == .adamw ? 2 : nil
      let whole = folder.appendingPathComponent("whole")
      let parts = folder.appendingPathComponent("parts")
      let expected = try train(configuration, out: whole)
      var metrics = try train(configuration, out: parts, stopAfter: 3)
      #expect(metrics.count == 3)
      let point = try TrainingConfiguration.resume(parts)
      metrics += try train(point.configuration, out: parts, resuming: point, threads: 3)
      #expect(bits(metrics) == bits(expected))
      #expect(try weights(parts) == weights(whole))
      #expect(try MetricsFile.read(parts.appendingPathComponent("metrics.jsonl")).map(\.step) == Array(0..<8))
    }
  }

  /// Weights of 16 bits alone: half the bytes, the same bits after a resume, and learning as over fp32.
  @Test(
    arguments: TrainingConfiguration.OptimizerName.allCases.filter(\.worksWithoutMasters), [MasterWeights.none, .kahan])
  func withoutMasters(_ optimizer: TrainingConfiguration.OptimizerName, _ master: MasterWeights) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder)
      configuration.optimizer = optimizer
      configuration.precision = .bf16
      configuration.evalData = configuration.data[0]
      configuration.microBatch = optimizer == .adamw ? 2 : nil
      let wide = try train(configuration, out: folder.appendingPathComponent("wide"))
      configuration.master = master
      let (whole, parts) = (folder.appendingPathComponent("whole"), folder.appendingPathComponent("parts"))
      let expected = try train(configuration, out: whole)
      var metrics = try train(configuration, out: parts, stopAfter: 3)
      let point = try TrainingConfiguration.resume(parts)
      metrics += try train(point.configuration, out: parts, resuming: point, threads: 3)
      #expect(bits(metrics) == bits(expected))
      #expect(try weights(parts) == weights(whole))
      let bytes = try [whole, folder.appendingPathComponent("wide")].map { try Double(weights($0).count) }
      #expect(bytes[0] < 0.55 * bytes[1])
      #expect(
        try ModelFiles.open(whole.path).model.configuration.stored(as: .bfloat16)
          == ModelFiles.open(whole.path).model.configuration)
      for (narrow, wide) in zip(expected, wide) { #expect(abs(narrow.loss / wide.loss - 1) < 0.01) }
      #expect(bits(expected) != bits(wide))
    }
  }

  /// What is saved is what was evaluated: the average of Schedule-Free, the iterate of the accelerated gradient.
  @Test(arguments: [TrainingConfiguration.OptimizerName.scheduleFree, .apg, .apgnc, .muon], [Precision.fp32, .bf16])
  func theEvaluatedModelIsSaved(_ optimizer: TrainingConfiguration.OptimizerName, _ precision: Precision) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder)
      configuration.optimizer = optimizer
      configuration.precision = precision
      configuration.evalData = configuration.data[0]
      let out = folder.appendingPathComponent("out")
      let evaluated = try train(configuration, out: out).last?.evalLoss
      let (model, files) = try ModelFiles.open(out.path)
      let (context, store) = (try Context(threads: 2), ParameterStore())
      try ModelFiles.load(model, from: files, into: store, access: .copied, context: context)
      let evaluator = try Evaluator(model, batch: 4, time: 32, precision: precision, context: context, store: store)
      let corpus = try Corpus(files: [URL(fileURLWithPath: configuration.data[0])], tokenizer: ByteTokenizer())
      #expect(try evaluator.evaluate(corpus).loss == evaluated)
    }
  }

  /// A penalty makes weights exactly 0.
  @Test func proximalStepsGiveZeros() throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder)
      configuration.optimizer = .proximalSGD
      configuration.l1 = 0.5
      let out = folder.appendingPathComponent("out")
      _ = try train(configuration, out: out)
      let tensors = try SafetensorsFile(out.appendingPathComponent("model.safetensors")).tensors
      let weight = floats(try #require(tensors["transformer.h.0.mlp.c_fc.weight"]))
      let zeros = weight.count { $0 == 0 }
      #expect(zeros > weight.count / 10 && zeros < weight.count)
    }
  }

  @Test func aFaultStopsBeforeAnythingIsSaved() throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 20)
      configuration.optimizer = .sgd
      configuration.lr = 1e25
      configuration.gradClip = 0
      configuration.schedule = .constant
      configuration.warmup = 0
      configuration.saveEvery = 1
      let out = folder.appendingPathComponent("out")
      let error = #expect(throws: KilnError.self) { try train(configuration, out: out) }
      #expect(error?.kind == .numerics)
      let message = error?.message ?? ""
      #expect(
        message.wholeMatch(of: /step \d+: transformer\.\S+: \w+ gave a result that is not finite/) != nil, "\(message)")
      let point = try TrainingConfiguration.resume(out)
      #expect(
        message.hasPrefix("step \(point.state.step): "),
        "the checkpoint of step \(point.state.step) is the last good one")
      #expect(!FileManager.default.fileExists(atPath: out.appendingPathComponent("model.safetensors").path))
    }
  }

  @Test(arguments: TrainingConfiguration.Architecture.allCases)
  func dropoutReachesEveryModel(_ architecture: TrainingConfiguration.Architecture) throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder, steps: 1)
      configuration.arch = architecture
      let dropped = try train(configuration, out: folder.appendingPathComponent("dropped"))
      configuration.dropout = 0
      let whole = try train(configuration, out: folder.appendingPathComponent("whole"))
      #expect(dropped.map(\.loss) != whole.map(\.loss))
    }
  }

  @Test func aResumedRunRefusesAnotherConfiguration() throws {
    try withTemporaryFolder { folder in
      let out = folder.appendingPathComponent("out")
      _ = try train(try configuration(in: folder), out: out, stopAfter: 2)
      let point = try TrainingConfiguration.resume(out)
      var changed = point.configuration
      changed.seed = 5
      let error = #expect(throws: KilnError.self) { try Trainer(changed, out: out, resuming: point) }
      #expect(error?.message == "--seed is 5, but the run was started with 0")
      changed = point.configuration
      changed.steps = 9
      _ = try Trainer(changed, out: out, resuming: point)
    }
  }

  @Test func immediateUpdatesNeedNoGradientBuffers() throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder)
      configuration.dropout = 0
      (configuration.layers, configuration.batch, configuration.context) = (8, 1, 8)
      configuration.gradClip = 0
      let immediate = try Trainer(configuration, out: folder.appendingPathComponent("a"))
      configuration.gradClip = 1
      let deferred = try Trainer(configuration, out: folder.appendingPathComponent("b"))
      #expect(immediate.plan.updateMode == "immediate" && deferred.plan.updateMode == "deferred")
      let price = deferred.plan.gradient.arenaBytes - immediate.plan.gradient.arenaBytes
      #expect(price > deferred.plan.memory[.weights] / 2)
    }
  }

  /// A budget is kept by running parts of the forward again, or by smaller micro-batches; what cannot fit says what would.
  @Test func aBudgetIsKept() throws {
    try withTemporaryFolder { folder in
      var configuration = try configuration(in: folder)
      (configuration.layers, configuration.batch, configuration.context) = (12, 8, 64)
      // The process is that of all tests at once: what it takes beside the run is not this test's.
      func plan(within budget: Int?) throws -> TrainingPlan {
        var planner = TrainingPlanner(budget: budget)
        planner.resident = 40 << 20
        return try planner.plan(configuration)
      }
      let free = try plan(within: nil)
      #expect(free.choices.isEmpty && free.microBatch == 8)
      let arena = free.gradient.arenaBytes
      configuration.microBatch = 8
      let tight = try plan(within: free.memory.total - arena / 3)
      #expect(tight.memory.total <= free.memory.total - arena / 3)
      #expect(tight.choices.count == 1 && tight.seconds > free.seconds && tight.microBatch == 8)
      configuration.microBatch = nil
      let error = #expect(throws: KilnError.self) { try plan(within: 1 << 20) }
      #expect(error?.kind == .memory && error?.message.contains("the run takes at least") == true)
      #expect(error?.hint?.contains("use --memory ") == true)
    }
  }
}
