// What a run leaves behind, and what it tells.

import ArgumentParser
import Kiln

struct SavingOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "A new folder for the model, checkpoints, metrics and report. (required, unless --resume)", valueName: "dir"))
  var out: String?

  @Option(
    help: ArgumentHelp(
      "Go on with the run in this folder, with its configuration and in place. (default: a new run)", valueName: "dir"))
  var resume: String?

  @Option(
    help: ArgumentHelp(
      "Steps between checkpoints. (default: \(TrainingConfiguration.defaultSaveEvery))", valueName: "n"))
  var saveEvery: Int?

  @Option(
    help: ArgumentHelp("Checkpoints that stay. (default: \(TrainingConfiguration.defaults.keep))", valueName: "n"))
  var keep: Int?

  @Option(help: ArgumentHelp("Steps between evaluations. (default: a tenth of the steps)", valueName: "n"))
  var evalEvery: Int?

  @Option(
    help: ArgumentHelp(
      "Where each step's metrics go. (default: metrics.jsonl in the output folder)", valueName: "file"))
  var metrics: String?

  @Flag(help: "Print errors and the last line only. (default: off)")
  var quiet = false

  func apply(to configuration: inout TrainingConfiguration) {
    configuration.saveEvery = saveEvery ?? configuration.saveEvery
    configuration.keep = keep ?? configuration.keep
    configuration.evalEvery = evalEvery ?? configuration.evalEvery
  }
}
