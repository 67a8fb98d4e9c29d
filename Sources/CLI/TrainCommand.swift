// kiln train

import ArgumentParser
import Foundation
import Kiln

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train a new or a pretrained model on text.",
    discussion: """
      'kiln train --data book.txt --out run' trains a small GPT-2 on bytes. Every long option is also a key of \
      --config, and options on the command line win. Ctrl-C saves and stops; --resume goes on.
      """)

  @Option(help: ArgumentHelp("A YAML file with options as keys. (default: none)", valueName: "run.yaml"))
  var config: String?

  @OptionGroup var options: TrainOptions

  func run() throws {
    signal(SIGPIPE, SIG_IGN)  // A reader that leaves must not end a run.
    let file = try config.map(ConfigurationFile.read)
    let request = try TrainRequest(options, over: file)
    let interruption = Interruption {
      Terminal.note("stopping after this step; once more ends at once")
    }
    if let search = try request.configuration.ticketSearch(out: request.out) {
      try train(search, request, interruption)
    } else {
      try train(request, interruption)
    }
  }

  /// - Parameter isOver: whether it ends after so many steps.
  private func train(
    _ request: TrainRequest, _ interruption: Interruption,
    isOver: (Trainer, Int) throws(KilnError) -> Bool = { _, _ in false }
  ) throws {
    let trainer = try Trainer(
      request.configuration, out: request.out, resuming: request.point, options: request.options)
    let progress = ProgressDisplay(trainer, resumable: request.resumable, isQuiet: request.isQuiet)
    if !request.isQuiet { Terminal.print(table: RunDescription.rows(of: trainer)) }
    let outcome: Trainer.Outcome
    do {
      defer { progress.finish() }
      outcome = try trainer.run(
        shouldStop: { interruption.wasRequested },
        isOver: { (done) throws(KilnError) in try isOver(trainer, done) }, onEvent: progress.show)
    }
    let report = try RunReport.write(
      for: trainer, metrics: request.metrics, withSample: outcome == .finished || outcome == .outOfTime)
    Terminal.print(progress.lastLine(outcome, report: report))
  }

  /// Stage by stage, each a run in a folder of its own; those that are finished are passed over.
  private func train(_ search: any TicketSearch, _ request: TrainRequest, _ interruption: Interruption) throws {
    if request.point == nil { try search.begin() }
    let count = search.stages.count
    for index in 0..<count {
      // Anew each time: what a stage begins with is found when those before it are done.
      let stage = search.stages[index]
      if stage.isFinished { continue }
      try search.prepare(stage)
      if !request.isQuiet { Terminal.print("\n\(stage.name), stage \(index + 1) of \(count)") }
      let stageRequest = TrainRequest(stage.configuration, out: stage.out, point: try stage.point(), request)
      try train(stageRequest, interruption) { (trainer, done) throws(KilnError) in
        try search.isOver(stage, trainer, done: done)
      }
      if interruption.wasRequested { return }
    }
    try search.finish()
    Terminal.print("the ticket is in \(request.out.relativePath)")
  }
}

/// What the command line and the file behind it ask for together.
struct TrainRequest {
  let configuration: TrainingConfiguration
  /// The current folder where nothing is written.
  let out: URL
  /// What --resume takes to go on with it.
  let resumable: URL
  let point: ResumePoint?
  let options: Trainer.Options
  let isQuiet: Bool

  var metrics: URL { options.metrics ?? out.appendingPathComponent("metrics.jsonl") }

  /// A part of another request.
  init(_ configuration: TrainingConfiguration, out: URL, point: ResumePoint?, _ whole: TrainRequest) {
    self.configuration = configuration
    self.out = out
    resumable = whole.out
    self.point = point
    options = Trainer.Options(threads: whole.options.threads, device: whole.options.device)
    isQuiet = whole.isQuiet
  }

  init(_ options: TrainOptions, over file: TrainOptions?, needsOutput: Bool = true) throws {
    let layers = [options] + (file.map { [$0] } ?? [])
    func first<Value>(_ value: (TrainOptions) -> Value?) -> Value? { layers.lazy.compactMap(value).first }

    let resumed = first(\.saving.resume).map { URL(fileURLWithPath: $0) }
    let named = first(\.saving.out).map { URL(fileURLWithPath: $0) }
    if let resumed, let named, resumed.standardizedFileURL != named.standardizedFileURL {
      throw ValidationError("--resume '\(resumed.relativePath)' goes on in place, not in --out '\(named.relativePath)'")
    }
    let place = resumed ?? named
    out = needsOutput ? try required(place, "--out <dir>") : place ?? URL(fileURLWithPath: ".")
    resumable = out
    point = try resumed.map(TrainingConfiguration.resume)
    var configuration = point?.configuration ?? TrainingConfiguration()
    for layer in layers.reversed() { layer.apply(to: &configuration) }
    _ = try required(configuration.data.first, "--data <data>...")
    self.configuration = configuration
    self.options = Trainer.Options(
      threads: first(\.machine.threads), device: first(\.machine.device) ?? .cpu,
      metrics: first(\.saving.metrics).map { URL(fileURLWithPath: $0) })
    isQuiet = layers.contains(where: \.saving.quiet)
  }
}
