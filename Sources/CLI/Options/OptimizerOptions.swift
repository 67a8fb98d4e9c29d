// How the weights follow their gradients.

import ArgumentParser
import Kiln

struct OptimizerOptions: ParsableArguments {
  @Option(help: "The optimizer. (default: \(TrainingConfiguration.defaults.optimizer.rawValue))")
  var optimizer: TrainingConfiguration.OptimizerName?

  @Option(
    help: ArgumentHelp(
      """
      Peak learning rate. (default: adam, adamw, lamb, muon 1e-3; schedule-free 2.5e-3; lion 1e-4; momentum, nesterov, \
      heavy-ball, proximal-sgd 0.02; sgd, apg, apgnc 0.1; lars 1; for a pretrained model 3e-5, 3e-5, 1e-5, 1e-4, 1e-3, 0.1; \
      adafactor: relative to the weights)
      """, valueName: "x"))
  var lr: Double?

  @Option(
    help: ArgumentHelp(
      "How the rate, which is for a batch of \(TrainingConfiguration.baseBatch), follows --batch. (default: none)"))
  var lrScaling: LearningRateScaling?

  @Option(
    help:
      "How the optimizer keeps its state. (default: \(TrainingConfiguration.defaults.optimizerState.rawValue))"
  )
  var optimizerState: StateFormat?

  @Option(
    help: ArgumentHelp(
      "Decay of the two averages. (default: adam, adamw, muon 0.9,0.95; lion 0.9,0.99; lamb, schedule-free 0.9,0.999)",
      valueName: "a,b"))
  var betas: Pair?

  @Option(
    help: ArgumentHelp("Guard against division by zero. (default: 1e-8; lamb 1e-6)", valueName: "x"))
  var eps: Double?

  @Option(
    help: ArgumentHelp(
      "Of momentum, nesterov, heavy-ball, lars, muon and proximal-sgd. (default: 0.9; muon 0.95)", valueName: "x"))
  var momentum: Double?

  @Option(
    help: ArgumentHelp(
      "Weight decay of matrices, never of biases and gains. (default: 0.1 for adamw and muon, 0.01 for lamb, else 0)",
      valueName: "x"))
  var weightDecay: Double?

  @Option(help: ArgumentHelp("Penalty on magnitudes, of proximal-sgd, apg and apgnc. (default: 0)", valueName: "x"))
  var l1: Double?

  @Option(
    help: ArgumentHelp("Penalty on the norms of rows, of proximal-sgd, apg and apgnc. (default: 0)", valueName: "x"))
  var groupLasso: Double?

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Range that proximal-sgd, apg and apgnc keep matrices in. (default: none)", valueName: "low,high"))
  var box: Pair?

  @Option(
    help: ArgumentHelp(
      "Largest global norm of a gradient; 0 is off. (default: \(TrainingConfiguration.defaults.gradClip))",
      valueName: "x"))
  var gradClip: Double?

  @Option(
    help: "The rate's course after the warm-up. (default: cosine; schedule-free constant)")
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
      "Of products, activations and their gradients. (default: \(TrainingConfiguration.defaults.precision.rawValue))"
  )
  var precision: Precision?

  @Option(
    help: ArgumentHelp(
      """
      The matrices that updates change; none: those that products take, in bf16, by stochastic rounding; kahan: so, \
      beside what rounding leaves out. (default: \(TrainingConfiguration.defaults.master.rawValue))
      """))
  var master: MasterWeights?

  func apply(to configuration: inout TrainingConfiguration) {
    configuration.optimizer = optimizer ?? configuration.optimizer
    configuration.optimizerState = optimizerState ?? configuration.optimizerState
    configuration.lr = lr ?? configuration.lr
    configuration.lrScaling = lrScaling ?? configuration.lrScaling
    configuration.betas = betas?.values ?? configuration.betas
    configuration.eps = eps ?? configuration.eps
    configuration.momentum = momentum ?? configuration.momentum
    configuration.weightDecay = weightDecay ?? configuration.weightDecay
    configuration.l1 = l1 ?? configuration.l1
    configuration.groupLasso = groupLasso ?? configuration.groupLasso
    configuration.box = box?.values ?? configuration.box
    configuration.gradClip = gradClip ?? configuration.gradClip
    configuration.schedule = schedule ?? configuration.schedule
    configuration.warmup = warmup ?? configuration.warmup
    configuration.seed = seed ?? configuration.seed
    configuration.precision = precision ?? configuration.precision
    configuration.master = master ?? configuration.master
  }
}
