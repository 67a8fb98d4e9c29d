// kiln-bench train

import ArgumentParser
import Foundation
import Harness
import Kiln

struct TrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train", abstract: "Train small models to see what helps.",
    discussion: """
      Experiments: \(Experiment.all.map(\.name).joined(separator: ", ")). Runs are kept in Results/training; \
      one that is there is not run again, so an experiment that was stopped goes on where it was.
      """)

  @Argument(help: "Experiments (default: all).") var experiments: [String] = []
  @Option(help: "Only runs whose \"TASK ARM\" contains this.") var match: String?
  @Option(help: "Threads (default: every CPU).") var threads: Int?
  @Flag(help: "Each arm once, for a twentieth of the steps; nothing is kept, and the figures mean nothing.")
  var quick = false
  @Flag(help: "Run again what is there already.") var rerun = false
  @Flag(help: "Only print what is there, as Markdown.") var table = false

  func run() throws {
    for experiment in try selected() { try table ? printTables(experiment) : run(experiment) }
  }

  private func selected() throws -> [Experiment] {
    let all = Experiment.all
    if let unknown = experiments.first(where: { name in !all.contains { $0.name == name } }) {
      throw BenchFailure("there is no experiment '\(unknown)'; known: \(all.map(\.name).joined(separator: ", "))")
    }
    return experiments.isEmpty ? all : all.filter { experiments.contains($0.name) }
  }

  private static let folder = "Results/training"

  private func run(_ experiment: Experiment) throws {
    let context = try Context(threads: threads)
    let machine = Machine(threads: context.threads, isa: context.isa)
    var results = try TrainingResults("\(Self.folder)/\(experiment.name)-\(machine.slug).jsonl")
    let runner = TrainingRunner(
      text: try TrainingText(), commit: Commit.current().label, threads: threads, share: quick ? 0.05 : 1)
    if quick {
      let runs = try self.run(matching(experiment.firstRuns(rates: [1])), "\(experiment.name), a look", runner) { _ in }
      Output.line("\n" + TrainingTable.markdown(runs, arms: experiment.arms.map(\.name)))
      return
    }
    func runMissing(_ planned: [PlannedRun], _ phase: String) throws {
      let wanted = matching(planned)
      let runs = wanted.filter { rerun || !results.contains($0.key) }
      let title = "\(experiment.name), \(phase): \(runs.count) runs, \(wanted.count - runs.count) are there already"
      try self.run(runs, title, runner) { try results.append($0) }
    }
    try runMissing(experiment.firstRuns(rates: experiment.rates), "first seed")
    try runMissing(experiment.otherRuns(after: results.runs), "other seeds")
    Output.line("\n" + TrainingTable.markdown(results.runs, arms: experiment.arms.map(\.name)))
  }

  private func matching(_ runs: [PlannedRun]) -> [PlannedRun] {
    runs.filter { planned in match.map { "\(planned.task.name) \(planned.arm.name)".contains($0) } ?? true }
  }

  @discardableResult
  private func run(
    _ runs: [PlannedRun], _ title: String, _ runner: TrainingRunner, done: (TrainingRun) throws -> Void
  ) throws -> [TrainingRun] {
    Output.line(title)
    let begun = ContinuousClock.now
    return try runs.enumerated().map { index, planned in
      let title = "\(index + 1)/\(runs.count) \(planned.key)"
      var left = ""
      let result = try runner.run(planned) { done, steps, loss in
        let share = (Double(index) + Double(done) / Double(steps)) / Double(runs.count)
        left = Format.duration((ContinuousClock.now - begun) / .seconds(1) * (1 / share - 1)) + " left"
        Output.progress("\(title)  step \(done)/\(steps)  loss \(Format.fixed(loss, 3))  \(left)")
      }
      Output.line("\(title)  \(result.summary)  \(left)")
      try done(result)
      return result
    }
  }

  /// Of every machine that results are there from.
  private func printTables(_ experiment: Experiment) throws {
    let files = ((try? FileManager.default.contentsOfDirectory(atPath: Self.folder)) ?? []).sorted()
    for file in files where file.hasPrefix(experiment.name + "-") && file.hasSuffix(".jsonl") {
      let results = try TrainingResults("\(Self.folder)/\(file)")
      print("### \(file)\n\n" + TrainingTable.markdown(results.runs, arms: experiment.arms.map(\.name)) + "\n")
    }
  }
}
