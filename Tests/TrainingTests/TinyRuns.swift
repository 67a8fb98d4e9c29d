import Foundation
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
    stopAfter: Int = .max
  ) throws -> [StepMetrics] {
    let trainer = try Trainer(configuration, out: out, resuming: point, options: Trainer.Options(threads: threads))
    var metrics: [StepMetrics] = []
    try trainer.run(
      shouldStop: { metrics.count >= stopAfter },
      onEvent: { if case .step(let step) = $0 { metrics.append(step) } })
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
