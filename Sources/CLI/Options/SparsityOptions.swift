// Which of the weights are trained at all.

import ArgumentParser
import Kiln

struct SparsityOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      """
      How the weights are found that are kept, of all projections but the head: random, magnitude, snip, grasp, synflow \
      before training; lottery by training several times; early-bird, earlybert by training for a while, whole heads and \
      neurons; pixelfly, monarch by shapes alone; set, rigl, top-kast also while training; ste, sr-ste anew in each \
      step, of dense weights. (default: all are kept)
      """))
  var sparsity: TrainingConfiguration.Sparsity?

  @Option(
    help: ArgumentHelp(
      """
      The share of the projections' weights that is kept. (default: \(TrainingConfiguration.defaultDensity); early-bird, \
      earlybert two thirds of the heads and \(EarlyTickets.neurons) of the neurons)
      """, valueName: "x"))
  var density: Double?

  @Option(
    help: ArgumentHelp(
      """
      What is kept or not as a whole: blocks of so many outputs and inputs, such as 16x16, which are the fastest; or N of \
      each M inputs, such as 2:4. (default: 1x1; pixelfly 32x32; ste, sr-ste 2:4)
      """, valueName: "shape"))
  var block: SparsePattern.Format?

  @Option(
    help: ArgumentHelp(
      """
      What each layer keeps: the same share (uniform), one by its shape (erk), or what scores highest anywhere (global). \
      (default: global for magnitude, snip, grasp and synflow, else erk)
      """))
  var layerDensity: LayerDensity?

  @Option(
    help: ArgumentHelp(
      "With top-kast: the share that has gradients, of which --density is a part. (default: twice --density)",
      valueName: "x"))
  var backwardDensity: Double?

  @Option(
    help: ArgumentHelp(
      """
      With set, rigl and top-kast: steps between changes; with early-bird and earlybert: between looks. (default: 100; \
      a fiftieth of --steps)
      """, valueName: "n"))
  var patternEvery: Int?

  @Option(
    help: ArgumentHelp(
      "With set and rigl: the share of what is kept that changes; rigl lets it fall to 0. (default: 0.3)",
      valueName: "x"))
  var dropFraction: Double?

  @Option(
    help: ArgumentHelp(
      "With set and rigl: the share of the steps that changes go on for. (default: 0.75)", valueName: "x"))
  var patternUntil: Double?

  @Option(
    help: ArgumentHelp(
      "With magnitude: the model whose weights decide; those that are kept begin as in --model. (default: that one)",
      valueName: "path"))
  var patternFrom: String?

  @Option(
    help: ArgumentHelp(
      "With sr-ste and top-kast: what pulls weights towards 0. (default: \(StraightThrough.decay), \(TopKAST.decay))",
      valueName: "x"))
  var maskDecay: Double?

  @Option(
    help: ArgumentHelp(
      "With lottery: how often it is pruned and trained again. (default: \(LotteryTickets.defaultRounds))",
      valueName: "n"))
  var rounds: Int?

  @Option(
    help: ArgumentHelp(
      "With lottery: the step that a ticket is put back to. (default: a twentieth of --steps)", valueName: "n"))
  var rewind: Int?

  @Option(
    help:
      """
      With lottery: what is put back: weights and the learning rate (weights), or that alone (rate); or the last round \
      begins anew (reinitialized). (default: weights)
      """)
  var rewinding: LotteryTickets.Rewinding?

  @Option(
    help: ArgumentHelp(
      """
      With early-bird and earlybert: the step when the ticket is drawn, or drawn at the latest. (default: half and a tenth \
      of --steps)
      """, valueName: "n"))
  var drawStep: Int?

  @Option(
    help: ArgumentHelp(
      """
      A learned factor on each head and each neuron, with this penalty on its absolute value. (default: none; early-bird, \
      earlybert \(EarlyTickets.penalty))
      """, valueName: "x"))
  var slimming: Double?

  @Option(
    help: ArgumentHelp(
      "With pixelfly: the rank of what is added to the blocks. (default: \(Pixelfly.defaultRank))", valueName: "n"))
  var rank: Int?

  @Option(
    help: ArgumentHelp(
      "With monarch: blocks of each of the two matrices. (default: near the root of the inputs)", valueName: "n"))
  var monarchBlocks: Int?

  func apply(to configuration: inout TrainingConfiguration) {
    configuration.sparsity = sparsity ?? configuration.sparsity
    configuration.density = density ?? configuration.density
    configuration.block = block ?? configuration.block
    configuration.layerDensity = layerDensity ?? configuration.layerDensity
    configuration.backwardDensity = backwardDensity ?? configuration.backwardDensity
    configuration.patternEvery = patternEvery ?? configuration.patternEvery
    configuration.dropFraction = dropFraction ?? configuration.dropFraction
    configuration.patternUntil = patternUntil ?? configuration.patternUntil
    configuration.patternFrom = patternFrom ?? configuration.patternFrom
    configuration.maskDecay = maskDecay ?? configuration.maskDecay
    configuration.rank = rank ?? configuration.rank
    configuration.monarchBlocks = monarchBlocks ?? configuration.monarchBlocks
    configuration.rounds = rounds ?? configuration.rounds
    configuration.rewind = rewind ?? configuration.rewind
    configuration.rewinding = rewinding ?? configuration.rewinding
    configuration.drawStep = drawStep ?? configuration.drawStep
    configuration.slimming = slimming ?? configuration.slimming
  }
}

extension TrainingConfiguration.Sparsity: ExpressibleByArgument {}
extension LotteryTickets.Rewinding: ExpressibleByArgument {}
extension LayerDensity: ExpressibleByArgument {}
extension SparsePattern.Format: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}
