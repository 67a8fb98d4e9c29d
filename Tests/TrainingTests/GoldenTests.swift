import Foundation
import KilnCheckpoints
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnTraining
import Testing

/// Models and training against PyTorch and transformers.
struct GoldenTests {
  static let devices: [Context.Device] = [.cpu, .ref]

  @Test(arguments: Golden.names, devices) func everyGradientByName(_ name: String, _ device: Context.Device) throws {
    let golden = try Golden.load(name)
    let (model, files) = try ModelFiles.open(Golden.folder(name).path)
    let context = try Context(device: device, threads: 2)
    let store = ParameterStore()
    try ModelFiles.load(model, from: files, into: store, access: .copied, context: context)

    let graph = Graph()
    let batch = golden.runs[0].batch
    let time = golden.context
    let loss = try model.loss(in: graph, batch: batch, time: time, mode: .training(dropout: 0))
    let gradients = try graph.gradients(of: [(loss, graph.unit)], for: model.parameters)
    #expect(gradients.count == model.parameters.count)
    let plan = try Planner(context: context).plan(graph, outputs: [loss] + gradients.values)
    let session = try Session(plan, context: context, store: store)
    session.input("positions")?.copy(from: (0..<Int32(time)).map { $0 })
    session.input("loss_scale")?.scalar = 1 / Double(batch * time)
    session.input("tokens")?.copy(from: Array(golden.tokens[0..<batch * time]))
    session.input("targets")?.copy(from: Array(golden.tokens[1...batch * time]))
    try session.run()

    #expect(abs(session.tensor(of: loss).scalar / golden.runs[0].loss[0] - 1) < 1e-5)
    let expected = try SafetensorsFile(Golden.folder(name).appendingPathComponent("gradients.safetensors")).tensors
    #expect(Set(expected.keys) == Set(model.parameters.map(\.name)))
    for (parameter, value) in gradients {
      let error = relativeError(session.tensor(of: value).floats(), floats(try #require(expected[parameter.name])))
      #expect(error < 1e-4, "\(parameter.name): \(error)")
    }
  }

  @Test(arguments: Golden.names) func tenStepsOfEveryOptimizer(_ name: String) throws {
    let golden = try Golden.load(name)
    for run in golden.runs + [golden.accumulation] { try check(run, of: golden, name, device: .cpu) }
    try check(try #require(golden.runs.last), of: golden, name, device: .ref)
  }

  private func check(_ run: Golden.Run, of golden: Golden, _ name: String, device: Context.Device) throws {
    try withTemporaryFolder { folder in
      var configuration = TrainingConfiguration()
      configuration.data = [try golden.writeShard(in: folder).path]
      configuration.model = Golden.folder(name).path
      configuration.context = golden.context
      configuration.batch = run.batch
      configuration.microBatch = run.microBatch
      configuration.steps = run.loss.count
      configuration.order = .sequential
      configuration.optimizer = try #require(TrainingConfiguration.OptimizerName(rawValue: run.optimizer))
      configuration.lr = run.lr
      configuration.betas = run.betas
      configuration.eps = run.eps
      configuration.momentum = run.momentum > 0 ? run.momentum : nil
      configuration.weightDecay = run.weightDecay
      configuration.gradClip = run.gradClip
      configuration.schedule = .constant
      configuration.warmup = 0
      let options = Trainer.Options(threads: 2, device: device)
      let trainer = try Trainer(configuration, out: folder.appendingPathComponent("out"), options: options)
      var metrics: [StepMetrics] = []
      try trainer.run(onEvent: { if case .step(let step) = $0 { metrics.append(step) } })
      #expect(metrics.count == run.loss.count)
      for (step, loss, norm) in zip(metrics, zip(run.loss, run.gradNorm)).map({ ($0, $1.0, $1.1) }) {
        #expect(
          abs(step.loss / loss - 1) < 1e-4,
          "\(name), \(run.testDescription), step \(step.step): loss \(step.loss), not \(loss)")
        #expect(
          abs(step.gradNorm / norm - 1) < 1e-4,
          "\(name), \(run.testDescription), step \(step.step): norm \(step.gradNorm), not \(norm)")
      }
    }
  }

  @Test(arguments: Golden.names, devices) func greedyGenerationTokenForToken(_ name: String, _ device: Context.Device)
    throws
  {
    let golden = try Golden.load(name)
    let (model, files) = try ModelFiles.open(Golden.folder(name).path)
    let context = try Context(device: device, threads: 2)
    let store = ParameterStore()
    try ModelFiles.load(model, from: files, into: store, access: .mapped, context: context)
    let generator = Generator(model, context: context, store: store)
    for example in golden.generation {
      let tokens = try generator.generate(after: example.prompt, count: example.tokens.count, sampling: Sampling())
      #expect(tokens == example.tokens)
    }
  }

  @Test(arguments: Golden.names) func evaluation(_ name: String) throws {
    let golden = try Golden.load(name)
    let (model, files) = try ModelFiles.open(Golden.folder(name).path)
    let context = try Context(threads: 2)
    let store = ParameterStore()
    try ModelFiles.load(model, from: files, into: store, access: .mapped, context: context)
    let evaluator = try Evaluator(model, batch: 3, time: golden.context, context: context, store: store)
    let result = try evaluator.evaluate(Corpus(tokens: golden.tokens))
    #expect(result.tokens == golden.eval.tokens)
    #expect(abs(result.loss / golden.eval.loss - 1) < 1e-5)
  }
}
