import Foundation
import KilnKernels
import Testing

@testable import KilnTraining

/// Tests that make whole runs of a tiny model.
protocol TinyRuns {}

extension TinyRuns {
  /// A tiny run on a text that is made up here.
  func configuration(in folder: URL, steps: Int = 8) throws -> TrainingConfiguration {
    let text = (0..<400).map { "the \($0 * 7919 % 1000) quick brown foxes jump over \($0) lazy dogs. " }.joined()
    let data = folder.appendingPathComponent("text.txt")
    try Data(text.utf8).write(to: data)
    var configuration = TrainingConfiguration()
    configuration.data = [data.path]
    (configuration.layers, configuration.width, configuration.heads) = (2, 48, 3)
    (configuration.context, configuration.batch, configuration.steps) = (32, 4, steps)
    configuration.dropout = 0.1
    return configuration
  }

  func train(
    _ configuration: TrainingConfiguration, out: URL, resuming point: ResumePoint? = nil, threads: Int = 2,
    device: Context.Device = .cpu, stopAfter: Int = .max
  ) throws -> [StepMetrics] {
    let trainer = try Trainer(
      configuration, out: out, resuming: point, options: Trainer.Options(threads: threads, device: device))
    var metrics: [StepMetrics] = []
    try trainer.run(
      shouldStop: { metrics.count >= stopAfter },
      onEvent: { if case .step(let step) = $0 { metrics.append(step) } })
    return metrics
  }

  /// Trains at once, and again with a stop and with other threads, which must not show; returns where the first is.
  func trainInParts(_ configuration: TrainingConfiguration, in folder: URL) throws -> URL {
    var configuration = configuration
    configuration.evalData = configuration.data[0]
    let whole = folder.appendingPathComponent("whole")
    let parts = folder.appendingPathComponent("parts")
    let expected = bits(try train(configuration, out: whole))
    var metrics = try train(configuration, out: parts, threads: 1, stopAfter: 5)
    metrics += try train(configuration, out: parts, resuming: TrainingConfiguration.resume(parts), threads: 3)
    #expect(bits(metrics) == expected)
    #expect(try weights(parts) == weights(whole) && checkpoint(parts) == checkpoint(whole))
    return whole
  }

  /// All stages of a search, one after the other; their metrics by name.
  func train(_ search: any TicketSearch) throws -> [String: [StepMetrics]] {
    try search.begin()
    var metrics: [String: [StepMetrics]] = [:]
    for index in search.stages.indices {
      let stage = search.stages[index]
      #expect(!stage.isFinished)
      try search.prepare(stage)
      let trainer = try Trainer(stage.configuration, out: stage.out, resuming: stage.point())
      var steps: [StepMetrics] = []
      try trainer.run(
        isOver: { (done) throws(KilnError) in try search.isOver(stage, trainer, done: done) },
        onEvent: { if case .step(let step) = $0 { steps.append(step) } })
      metrics[stage.name] = steps
      #expect(search.stages[index].isFinished)
    }
    try search.finish()
    return metrics
  }

  func bits(_ metrics: [StepMetrics]) -> [[UInt64]] {
    metrics.map {
      [
        UInt64($0.step), $0.loss.bitPattern, $0.gradNorm?.bitPattern ?? 0, $0.lr.bitPattern, UInt64($0.tokens),
        $0.lossScale?.bitPattern ?? 0, $0.noiseScale?.bitPattern ?? 0,
      ]
    }
  }

  func weights(_ out: URL) throws -> Data {
    try Data(contentsOf: out.appendingPathComponent("model.safetensors"))
  }

  /// The tensors of a run's newest checkpoint, without the header, which names the run.
  func checkpoint(_ out: URL) throws -> Data {
    let folder = try #require(try TrainingConfiguration.resume(out).folder)
    let data = try Data(contentsOf: folder.appendingPathComponent("training_state.safetensors"))
    let header = data.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
    return data.dropFirst(8 + header)
  }
}
