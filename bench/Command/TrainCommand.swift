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
    let wanted = experiment.runs(quick: quick).filter { planned in
      match.map { "\(planned.task.name) \(planned.arm.name)".contains($0) } ?? true
    }
    let runs = wanted.filter { quick || rerun || !results.contains($0.key) }
    Output.line("\(experiment.name): \(runs.count) runs, \(wanted.count - runs.count) are there already")
    let begun = ContinuousClock.now
    var quickRuns: [TrainingRun] = []
    for (index, planned) in runs.enumerated() {
      let title = "\(index + 1)/\(runs.count) \(planned.key)"
      var left = ""
      let result = try runner.run(planned) { done, steps, loss in
        let share = (Double(index) + Double(done) / Double(steps)) / Double(runs.count)
        left = Format.duration((ContinuousClock.now - begun) / .seconds(1) * (1 / share - 1)) + " left"
        Output.progress("\(title)  step \(done)/\(steps)  loss \(Format.fixed(loss, 3))  \(left)")
      }
      Output.line("\(title)  \(result.summary)  \(left)")
      if quick { quickRuns.append(result) } else { try results.append(result) }
    }
    Output.line("\n" + TrainingTable.markdown(quick ? quickRuns : results.runs, arms: experiment.arms.map(\.name)))
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
