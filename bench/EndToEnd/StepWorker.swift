// Training steps for the bench, by the trainer that `kiln train` uses, on random tokens.

import Foundation
import Harness
import Kiln

struct StepWorker {
  private let trainer: Trainer
  private let folder: URL
  private let vocabulary: Int

  init(_ work: Job, _ options: Trainer.Options) throws {
    let shape = try ModelShape(work)
    guard let batch = work.batch, let time = work.time else { throw BenchFailure("a step needs batch and time") }
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-bench-\(getpid())")
    vocabulary = shape.vocabulary
    var configuration = TrainingConfiguration()
    configuration.precision = work.precision
    configuration.data = [try RandomTokens.write(batch * time * 4 + 1, below: vocabulary, in: folder).path]
    configuration.arch = .gpt2
    (configuration.layers, configuration.width, configuration.heads) = (shape.layers, shape.width, shape.heads)
    (configuration.context, configuration.batch, configuration.vocabSize) = (time, batch, vocabulary)
    (configuration.steps, configuration.gradClip) = (1 << 20, 0)
    trainer = try Trainer(
      configuration, out: folder.appendingPathComponent("out"), options: options)
  }

  /// Trains step after step as the bench asks for them, and ends the process when it has had enough.
  /// The first step is checked and not timed: a new model knows nothing, so its loss is near the logarithm of the
  /// vocabulary.
  func serve() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    var left = 0
    var seconds = 0.0
    try trainer.run(onEvent: { event in
      guard case .step(let metrics) = event else { return }
      if metrics.step == 0 {
        guard abs(metrics.loss - log(Double(vocabulary))) < 0.3 else {
          finish(Answer(error: "the first loss is \(metrics.loss), not near the logarithm of \(vocabulary)"))
        }
        Answer(ok: true, note: "forecast \(trainer.plan.memory.total >> 20) MiB, updates \(trainer.plan.updateMode)")
          .send()
      } else {
        seconds += Double(trainer.configuration.batch * trainer.sequenceLength) / metrics.tokensPerSecond
        left -= 1
        if left == 0 { Answer.runs(seconds: seconds).send() }
      }
      guard left == 0 else { return }
      guard case .run(let count) = Request.next(), count > 0 else { finish(Answer(ok: true)) }
      (left, seconds) = (count, 0)
    })
  }

  private func finish(_ answer: Answer) -> Never {
    try? FileManager.default.removeItem(at: folder)
    answer.send()
    exit(0)
  }
}
