// One training run, by the trainer that `kiln train` uses.

import Foundation
import Harness
import Kiln

struct TrainingRunner {
  let text: TrainingText
  let commit: String
  var threads: Int?
  /// A part of the steps, for a look at whether everything works.
  var share = 1.0

  /// - Parameter onStep: told after each step how many are done, of how many, and its loss.
  func run(_ planned: PlannedRun, onStep: (_ done: Int, _ steps: Int, _ loss: Double) -> Void) throws -> TrainingRun {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-bench-\(getpid())")
    try? FileManager.default.removeItem(at: folder)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let configuration = try configuration(of: planned)
    let steps = configuration.steps ?? TrainingConfiguration.defaultSteps
    let trainer = try Trainer(
      configuration, out: folder.appendingPathComponent("run"), options: Trainer.Options(threads: threads))
    var (losses, seconds, heldOut): ([Double], [Double], Double?) = ([], [], nil)
    let load = ForeignLoad()
    var isFinite = true
    do throws(KilnError) {
      try trainer.run(onEvent: { event in
        guard case .step(let metrics) = event else { return }
        losses.append(metrics.loss)
        seconds.append(Double(configuration.batch * trainer.sequenceLength) / metrics.tokensPerSecond)
        heldOut = metrics.evalLoss
        onStep(losses.count, steps, metrics.loss)
      })
    } catch {
      guard error.kind == .numerics else { throw error }
      isFinite = false
    }
    let guess = log(Double(trainer.model.configuration.vocabularySize))
    var run = TrainingRun(
      planned.key, commit: commit, steps: steps, losses: losses, seconds: seconds, heldOut: heldOut,
      diverged: !isFinite || (heldOut ?? 0) > guess, parameters: trainer.parameterCount,
      stateBytes: stateBytes(of: trainer), planBytes: trainer.plan.memory.total - trainer.plan.memory[.runtime])
    run.foreignLoad = load.mean()
    return run
  }

  private func stateBytes(of trainer: Trainer) -> Int {
    trainer.store.parameters.filter { $0.role == .state }.reduce(0) { $0 + $1.type.byteCount }
  }

  private func configuration(of planned: PlannedRun) throws -> TrainingConfiguration {
    var configuration = planned.task.configuration
    try text.fill(&configuration, for: planned.task)
    planned.arm.change(&configuration)
    configuration.lr = planned.key.lr
    configuration.seed = UInt64(planned.key.seed)
    let steps = max(1, Int(Double(configuration.steps ?? TrainingConfiguration.defaultSteps) * share))
    configuration.steps = steps
    configuration.warmup = configuration.warmup ?? steps / 20
    // One evaluation, after the last step.
    (configuration.evalEvery, configuration.saveEvery) = (steps, steps)
    return configuration
  }
}
