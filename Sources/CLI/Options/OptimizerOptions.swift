// How the weights follow their gradients.

import ArgumentParser
import Kiln

struct OptimizerOptions: ParsableArguments {
  @Option(help: "The optimizer. (default: \(TrainingConfiguration.defaults.optimizer.rawValue))")
  var optimizer: TrainingConfiguration.OptimizerName?

  @Option(
    help: ArgumentHelp(
      """
      Peak learning rate. (default: adam, adamw, lamb 1e-3; lion 1e-4; momentum, nesterov, heavy-ball 0.02; sgd 0.1; \
      lars 1; for a pretrained model 3e-5, 1e-5, 1e-4, 1e-3, 0.1; adafactor: relative to the weights)
      """, valueName: "x"))
  var lr: Double?

  @Option(
    help:
      "How the optimizer keeps its state. (default: \(TrainingConfiguration.defaults.optimizerState.rawValue))"
  )
  var optimizerState: StateFormat?

  @Option(
    help: ArgumentHelp(
      "Decay of the two averages. (default: adam, adamw 0.9,0.95; lion 0.9,0.99; lamb 0.9,0.999)", valueName: "a,b"))
  var betas: Pair?

  @Option(
    help: ArgumentHelp("Guard against division by zero. (default: adam, adamw 1e-8; lamb 1e-6)", valueName: "x"))
  var eps: Double?

  @Option(help: ArgumentHelp("Of momentum, nesterov, heavy-ball and lars. (default: 0.9)", valueName: "x"))
  var momentum: Double?

  @Option(
    help: ArgumentHelp(
      "Weight decay of matrices, never of biases and gains. (default: 0.1 for adamw, 0.01 for lamb, else 0)", valueName: "x"))
  var weightDecay: Double?

  @Option(
    help: ArgumentHelp(
      "Largest global norm of a gradient; 0 is off. (default: \(TrainingConfiguration.defaults.gradClip))",
      valueName: "x"))
  var gradClip: Double?

  @Option(
    help: "The rate's course after the warm-up. (default: \(TrainingConfiguration.defaults.schedule.rawValue))")
  var schedule: Schedule.Shape?

  @Option(
    help: ArgumentHelp("Steps of linear warm-up. (default: a tenth of the steps, at most 100)", valueName: "n"))
  var warmup: Int?

  @Option(
    help: ArgumentHelp(
      "Of the initial weights, the order and dropout. (default: \(TrainingConfiguration.defaults.seed))",
      valueName: "n"))
  var seed: UInt64?

  @Option(
    help:
      "Of products, activations and their gradients; weights stay in fp32. (default: \(TrainingConfiguration.defaults.precision.rawValue))"
  )
  var precision: Precision?

  func apply(to configuration: inout TrainingConfiguration) {
    configuration.optimizer = optimizer ?? configuration.optimizer
    configuration.optimizerState = optimizerState ?? configuration.optimizerState
    configuration.lr = lr ?? configuration.lr
    configuration.betas = betas?.values ?? configuration.betas
    configuration.eps = eps ?? configuration.eps
    configuration.momentum = momentum ?? configuration.momentum
    configuration.weightDecay = weightDecay ?? configuration.weightDecay
    configuration.gradClip = gradClip ?? configuration.gradClip
    configuration.schedule = schedule ?? configuration.schedule
    configuration.warmup = warmup ?? configuration.warmup
    configuration.seed = seed ?? configuration.seed
    configuration.precision = precision ?? configuration.precision
  }
}
