import Foundation
import KilnCheckpoints
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers
import Testing

@testable import KilnTraining

struct LossScalerTests {
  /// The trace of torch.amp.GradScaler that starts at 8 and grows after 3 finite steps (F) in a row; O overflows.
  @Test func traceOfGradScaler() {
    var scaler = LossScaler(scale: 8, growthInterval: 3)
    let scales = "FFFOFFOFFF".map { outcome in
      scaler.update(isFinite: outcome == "F")
      return scaler.scale
    }
    #expect(scales == [8, 8, 16, 8, 8, 8, 4, 4, 4, 8])
    #expect(scaler.skippedSteps == 2)
  }

  @Test func staysWithinFP32AndCollapsesBelow1() {
    var scaler = LossScaler(scale: 0x1p126, growthInterval: 1)
    for _ in 0..<3 { scaler.update(isFinite: true) }
    #expect(scaler.scale == 0x1p127)
    scaler = LossScaler(scale: 2)
    scaler.update(isFinite: false)
    #expect(!scaler.hasCollapsed)
    scaler.update(isFinite: false)
    #expect(scaler.hasCollapsed)
  }

  /// A step whose gradients overflow leaves every weight and every optimizer state as it was, and reports its loss.
  @Test(arguments: TrainingConfiguration.OptimizerName.allCases, [4, 2])
  func anOverflowChangesNothing(_ name: TrainingConfiguration.OptimizerName, _ microBatch: Int) throws {
    let golden = try Golden.load("gpt2-tiny")
    let (model, files) = try ModelFiles.open(Golden.folder("gpt2-tiny").path)
    var configuration = TrainingConfiguration()
    configuration.optimizer = name
    let optimizer = try configuration.makeOptimizer()
    let context = try Context(threads: 2)
    let store = ParameterStore()
    try ModelFiles.load(model, from: files, into: store, access: .copied, context: context)
    let shape = TrainingStep.Shape(
      batch: 4, microBatch: microBatch, time: golden.context, dropout: 0, clip: nil, precision: .fp16)
    let step = try TrainingStep(model, optimizer, shape: shape, context: context, store: store)
    let source = try BatchSource(Corpus(tokens: golden.tokens), context: golden.context, batch: 4, order: .sequential)
    func run(_ index: Int, lossScale: Double) throws -> TrainingStep.Result {
      try step.run(source.batch(step: index), step: index, seed: 0, lr: 1e-3, lossScale: lossScale)
    }
    let parameters = model.parameters.flatMap { [$0] + optimizer.states(of: $0) }
    func all() throws -> [[UInt8]] { try parameters.map { try store.tensor($0).withBytes { [UInt8]($0) } } }
    #expect(try run(0, lossScale: 0x1p16).gradNorm != nil)
    let before = try all()
    let skipped = try run(1, lossScale: 0x1p40)
    #expect(skipped.gradNorm == nil && skipped.loss.isFinite)
    #expect(try all() == before)
    let result = try run(1, lossScale: 0x1p16)
    #expect(result.loss == skipped.loss)
    #expect(try all() != before)
  }

  /// A run goes on with the scale of its checkpoint: here one that is far too large, which is halved until it is not.
  @Test func aRunSkipsStepsUntilTheScaleFits() throws {
    try withTemporaryFolder { folder in
      let golden = try Golden.load("llama-tiny")
      var configuration = TrainingConfiguration()
      configuration.data = [try golden.writeShard(in: folder).path]
      configuration.model = Golden.folder("llama-tiny").path
      (configuration.context, configuration.batch, configuration.steps) = (golden.context, 2, 12)
      configuration.precision = .fp16
      let out = folder.appendingPathComponent("out")
      try Trainer(configuration, out: out).run(shouldStop: { true })
      let point = try TrainingConfiguration.resume(out)
      #expect(try RunState.lossScaler(resuming: point).finiteSteps == 1)

      var state = point.state
      state.methodState = RunState.methodState(LossScaler(scale: 0x1p24))
      let changed = ResumePoint(
        out: out, folder: point.folder, state: state, configuration: point.configuration, warnings: [])
      var notices: [String] = []
      var metrics: [StepMetrics] = []
      try Trainer(point.configuration, out: out, resuming: changed).run(onEvent: {
        if case .notice(let text) = $0 { notices.append(text) }
        if case .step(let step) = $0 { metrics.append(step) }
      })
      let skipped = metrics.prefix { $0.gradNorm == nil }.count
      #expect(skipped > 0 && skipped < metrics.count && notices.count == skipped)
      let rest = metrics[skipped...]
      #expect(rest.allSatisfy { $0.gradNorm != nil } && Set(rest.map(\.lossScale)) == [scalbn(0x1p24, -skipped)])
      #expect(notices[0].hasPrefix("step 1 skipped: its gradients overflow fp16 with the loss times 2^24; 1 "))
      #expect(try MetricsFile.read(out.appendingPathComponent("metrics.jsonl")).dropFirst() == metrics[...])
      let last = try RunState.lossScaler(resuming: try TrainingConfiguration.resume(out))
      #expect(last.skippedSteps == skipped && last.finiteSteps == metrics.count - skipped)
    }
  }

  @Test func refusesAnImpossibleState() throws {
    let state = TrainingState(
      step: 1, tokensSeen: 1, configuration: "", numericPlan: "",
      methodState: RunState.methodState(LossScaler(scale: -1)))
    let folder = URL(fileURLWithPath: "run")
    let point = ResumePoint(
      out: folder, folder: folder, state: state, configuration: TrainingConfiguration(), warnings: [])
    #expect(throws: KilnError.self) { try RunState.lossScaler(resuming: point) }
  }
}
