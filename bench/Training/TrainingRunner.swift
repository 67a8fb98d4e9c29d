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
    let out = folder.appendingPathComponent("run")
    let load = ForeignLoad()
    var result: (Trainer, Steps)
    var before: TrainingRun.Search?
    if let search = try configuration.ticketSearch(out: out) {
      try search.begin()
      result = try train(search, index: 0, onStep: onStep)
      for index in search.stages.indices.dropFirst() where result.1.isFinite {
        before = before ?? .init()
        before?.add(seconds: result.1.seconds, workPerStep: Double(result.0.plan.gradient.flops))
        result = try train(search, index: index, onStep: onStep)
      }
    } else {
      let trainer = try Trainer(configuration, out: out, options: Trainer.Options(threads: threads))
      result = (trainer, try train(trainer, onStep: onStep))
    }
    let (trainer, taken) = result
    let guess = log(Double(trainer.model.configuration.vocabularySize))
    var run = TrainingRun(
      planned.key, commit: commit, steps: steps, losses: taken.losses, seconds: taken.seconds, heldOut: taken.heldOut,
      diverged: !taken.isFinite || (taken.heldOut ?? 0) > guess, parameters: trainer.parameterCount,
      stateBytes: stateBytes(of: trainer), planBytes: trainer.plan.memory.total - trainer.plan.memory[.runtime])
    run.workPerStep = Double(trainer.plan.gradient.flops)
    run.search = before
    run.foreignLoad = load.mean()
    return run
  }

  /// What the steps of a run came to.
  private struct Steps {
    var losses: [Double] = []
    var seconds: [Double] = []
    var heldOut: Double?
    var isFinite = true
  }

  private func train(
    _ search: any TicketSearch, index: Int, onStep: (_ done: Int, _ steps: Int, _ loss: Double) -> Void
  ) throws -> (Trainer, Steps) {
    let stage = search.stages[index]
    try search.prepare(stage)
    let trainer = try Trainer(
      stage.configuration, out: stage.out, resuming: stage.point(), options: Trainer.Options(threads: threads))
    let steps = try train(
      trainer, isOver: { (done) throws(KilnError) in try search.isOver(stage, trainer, done: done) }, onStep: onStep)
    return (trainer, steps)
  }

  private func train(
    _ trainer: Trainer, isOver: (Int) throws(KilnError) -> Bool = { _ in false },
    onStep: (_ done: Int, _ steps: Int, _ loss: Double) -> Void
  ) throws -> Steps {
    var taken = Steps()
    do throws(KilnError) {
      try trainer.run(
        isOver: isOver,
        onEvent: { event in
          guard case .step(let metrics) = event else { return }
          taken.losses.append(metrics.loss)
          taken.seconds.append(
            Double(trainer.configuration.batch * trainer.sequenceLength) / metrics.tokensPerSecond)
          taken.heldOut = metrics.evalLoss
          onStep(metrics.step + 1, trainer.steps ?? metrics.step + 1, metrics.loss)
        })
    } catch {
      guard error.kind == .numerics else { throw error }
      taken.isFinite = false
    }
    return taken
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
    configuration.rewind = configuration.rewind.map { Int(Double($0) * share) }
    configuration.warmup = configuration.warmup ?? steps / 20
    // One evaluation, after the last step.
    (configuration.evalEvery, configuration.saveEvery) = (steps, steps)
    return configuration
  }
}
