// How much is trained on: a step's batch, and the length of the run.

import ArgumentParser
import Kiln

struct LengthOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Tokens of a sequence. (default: \(TrainingConfiguration.defaultContext), or the model's own limit if smaller)",
      valueName: "n"))
  var context: Int?

  @Option(help: ArgumentHelp("Sequences of a step. (default: \(TrainingConfiguration.defaults.batch))", valueName: "n"))
  var batch: Int?

  @Option(
    help: ArgumentHelp(
      "Sequences computed at a time; their gradients add up to the batch's. (default: batch)", valueName: "n"))
  var microBatch: Int?

  @Option(
    help: ArgumentHelp(
      "Steps of the run, those before a resume included. (default: \(TrainingConfiguration.defaultSteps), "
        + "or what --max-time allows)",
      valueName: "n"))
  var steps: Int?

  @Option(help: ArgumentHelp("Instead of --steps: passes over the data. (default: none)", valueName: "x"))
  var epochs: Double?

  @Option(
    help: ArgumentHelp(
      """
      Stop and save after so long: 45s, 90m, 2h; without --steps and --epochs the schedule ends there too. \
      (default: no limit)
      """, valueName: "time"))
  var maxTime: Seconds?

  @Option(
    help: ArgumentHelp(
      "Steps that count as done: schedule, data and random numbers go on from there. (default: 0)", valueName: "n"))
  var startStep: Int?

  func validate() throws {
    if let steps, let epochs {
      throw ValidationError("--steps \(steps) and --epochs \(epochs) exclude each other: give one of the two")
    }
  }

  func apply(to configuration: inout TrainingConfiguration) {
    configuration.context = context ?? configuration.context
    configuration.batch = batch ?? configuration.batch
    configuration.microBatch = microBatch ?? configuration.microBatch
    if steps != nil || epochs != nil {
      configuration.steps = steps
      configuration.epochs = epochs
    }
    configuration.maxTime = maxTime?.value ?? configuration.maxTime
    configuration.startStep = startStep ?? configuration.startStep
  }
}
