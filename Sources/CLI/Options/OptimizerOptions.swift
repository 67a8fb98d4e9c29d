// How the weights follow their gradients.

import ArgumentParser
import Kiln

struct OptimizerOptions: ParsableArguments {
  @Option(help: "The optimizer. (default: \(TrainingConfiguration.defaults.optimizer.rawValue))")
  var optimizer: TrainingConfiguration.OptimizerName?

  @Option(
    help: ArgumentHelp(
      """
      Peak learning rate. (default: adam, adamw 1e-3; momentum, nesterov 0.02; sgd 0.1; \
      for a pretrained model 3e-5, 1e-4, 1e-3)
      """, valueName: "x"))
  var lr: Double?

  private static let defaultBetas = TrainingConfiguration.defaults.betas.map { "\($0)" }.joined(separator: ",")

  @Option(help: ArgumentHelp("Decay of Adam's two moments. (default: \(defaultBetas))", valueName: "a,b"))
  var betas: Pair?

  @Option(help: ArgumentHelp("Adam's guard against division by zero. (default: 1e-8)", valueName: "x"))
  var eps: Double?

  @Option(help: ArgumentHelp("Of momentum and nesterov. (default: 0.9)", valueName: "x"))
  var momentum: Double?

  @Option(
    help: ArgumentHelp(
      "Weight decay of matrices, never of biases and gains. (default: 0.1 for adamw, else 0)", valueName: "x"))
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
