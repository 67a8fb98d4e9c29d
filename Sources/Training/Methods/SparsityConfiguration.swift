// What a configuration says of sparse weights.

import KilnGraph
import KilnKernels
import KilnLayers

extension TrainingConfiguration {
  public static let defaultDensity = 0.1

  /// The method with its hyperparameters; nil for dense weights.
  /// - Parameter steps: of the run; nil where nothing but time ends it.
  func makeSparsity(steps: Int?) throws(KilnError) -> (any SparsityMethod)? {
    guard let sparsity else { return nil }
    let until = Int(Double(steps ?? 0) * (patternUntil ?? 0.75))
    return switch sparsity {
    case .random: RandomPruning()
    case .magnitude: MagnitudePruning(source: patternFrom)
    case .snip: SNIP()
    case .grasp: GraSP()
    case .synflow: SynFlow()
    case .set: SET(every: patternEvery ?? 100, until: until, fraction: dropFraction ?? 0.3)
    case .rigl: RigL(every: patternEvery ?? 100, until: until, fraction: dropFraction ?? 0.3)
    case .topKAST: TopKAST(every: patternEvery ?? 100, backward: trainedShare)
    case .pixelfly: Pixelfly(rank: rank)
    case .monarch: Monarch(blocks: monarchBlocks)
    case .lottery, .earlyBird, .earlyBERT, .ste, .srSTE: nil
    }
  }

  /// What products take of dense weights; nil for all.
  func mask(for model: any LanguageModel) throws(KilnError) -> GroupMask? {
    guard let sparsity, sparsity.isMasked else { return nil }
    guard case .groups(let kept, let group) = block ?? .groups(kept: 2, of: 4) else { return nil }
    for parameter in model.parameters where parameter.projection != nil { try check(parameter, group) }
    return GroupMask(kept: kept, of: group, decay: sparsity == .ste ? 0 : maskDecay ?? StraightThrough.decay)
  }

  /// What pulls the factors of heads and neurons towards 0; nil where there are none.
  func slimmingPenalty(for model: any LanguageModel) throws(KilnError) -> Double? {
    guard let penalty = slimming ?? (sparsity?.isEarly == true ? EarlyTickets.penalty : nil) else { return nil }
    for parameter in model.parameters where parameter.projection != nil { try check(parameter, 1) }
    return penalty
  }

  private func check(_ parameter: Parameter, _ group: Int) throws(KilnError) {
    guard parameter.type.pattern == nil else {
      throw KilnError(
        .argument, "'\(parameter.name)' of the model is sparse already",
        hint: "leave --sparsity out to train what it keeps")
    }
    let inputs = parameter.shape[parameter.projection?.splitsColumns == true ? 0 : 1]
    guard inputs % group == 0 else {
      throw KilnError(
        .argument, "groups of \(group) do not fit '\(parameter.name)': its inputs are \(inputs)",
        hint: "choose another --block")
    }
  }

  /// The forms of weights that a new run begins with; nil for dense ones.
  func forms(for inputs: Inputs, context: Context) throws(KilnError) -> WeightForms? {
    guard let method = try makeSparsity(steps: inputs.steps(self)) else { return nil }
    let format = block ?? sparsity?.defaultBlock ?? .blocks(rows: 1, columns: 1)
    let layers = try inputs.model.parameters.filter { $0.projection != nil }.map {
      (parameter) throws(KilnError) -> PatternChoice.Layer in
      if case .groups(_, let group) = format { try check(parameter, group) } else { try check(parameter, 1) }
      let shape = parameter.outputsByInputs(Tensor(parameter.shape, .float32, in: nil)).shape
      return PatternChoice.Layer(name: parameter.name, rows: shape[0], columns: shape[1])
    }
    return try method.forms(
      PatternChoice(
        layers: layers, format: format, density: keptShare, layerDensity: layerDensity ?? method.layerDensity,
        seed: seed,
        probe: DenseProbe(inputs, self, context: context)))
  }

  /// With Top-KAST: the share that has gradients.
  private var trainedShare: Double { backwardDensity ?? min(1, 2 * keptShare) }

  private var keptShare: Double {
    if case .groups(let kept, let group) = block { return Double(kept) / Double(group) }
    return density ?? Self.defaultDensity
  }

  func checkSparsity() throws(KilnError) {
    let flags: [(name: String, value: Any?, means: (Sparsity) -> Bool)] = [
      ("density", density, { !$0.isMasked && !$0.isFixed }), ("block", block, { $0 != .monarch && !$0.isEarly }),
      ("layer-density", layerDensity, { !$0.isMasked && !$0.isFixed && !$0.isEarly }),
      ("rank", rank, { $0 == .pixelfly }), ("monarch-blocks", monarchBlocks, { $0 == .monarch }),
      ("pattern-from", patternFrom, { $0 == .magnitude }),
      ("pattern-every", patternEvery, { $0.isDynamic || $0.isEarly }),
      ("drop-fraction", dropFraction, { $0 == .set || $0 == .rigl }),
      ("pattern-until", patternUntil, { $0 == .set || $0 == .rigl }),
      ("mask-decay", maskDecay, { $0 == .srSTE || $0 == .topKAST }),
      ("backward-density", backwardDensity, { $0 == .topKAST }),
      ("rounds", rounds, { $0 == .lottery }), ("rewind", rewind, { $0 == .lottery }),
      ("rewinding", rewinding, { $0 == .lottery }), ("draw-step", drawStep, \.isEarly),
    ]
    for flag in flags where flag.value != nil {
      guard let sparsity else {
        throw KilnError(
          .argument, "--\(flag.name) is of sparse weights, and nothing makes them sparse",
          hint: "give --sparsity as well")
      }
      if flag.means(sparsity) { continue }
      let others = Sparsity.allCases.filter(flag.means).map(\.rawValue)
      throw KilnError(
        .argument, "--\(flag.name) means nothing to --sparsity \(sparsity.rawValue)",
        hint: "leave it out, or use --sparsity " + others.joined(separator: ", "))
    }
    try checkSlimming()
    guard let sparsity else { return }
    if let density, !(density > 0 && density <= 1) {
      throw KilnError(.argument, "--density is \(density), not above 0 and at most 1", hint: "0.1 keeps a tenth")
    }
    for (flag, share) in [("drop-fraction", dropFraction), ("pattern-until", patternUntil)] {
      if let share, !(0...1).contains(share) { throw KilnError(.argument, "--\(flag) is \(share), not in 0 ... 1") }
    }
    if let backwardDensity, !(keptShare...1).contains(backwardDensity) {
      throw KilnError(.argument, "--backward-density is \(backwardDensity), not from --density \(keptShare) to 1")
    }
    if sparsity == .topKAST || sparsity == .pixelfly, case .groups = block {
      throw KilnError(
        .argument, "--sparsity \(sparsity.rawValue) keeps blocks, and --block is \(block!)", hint: "such as 16x16")
    }
    if let patternEvery, patternEvery < 1 { throw KilnError(.argument, "--pattern-every is \(patternEvery)") }
    for (flag, value) in [("rank", rank), ("monarch-blocks", monarchBlocks)] {
      if let value, value < 1 {
        throw KilnError(.argument, "--\(flag) is \(value)", hint: "give a number of at least 1")
      }
    }
    if sparsity == .monarch, model != nil {
      throw KilnError(
        .argument, "--sparsity monarch has other weights than --model", hint: "describe a new model instead")
    }
    if let drawStep, drawStep < 1 {
      throw KilnError(.argument, "--draw-step is \(drawStep)", hint: "give a step after the first")
    }
    if rewinding == .reinitialized, model != nil {
      throw KilnError(
        .argument, "--rewinding reinitialized begins with new weights, not those of --model",
        hint: "describe a new model instead")
    }
    if let rewind, rewind < 0 { throw KilnError(.argument, "--rewind is \(rewind)") }
    if let maskDecay, !(maskDecay >= 0 && maskDecay.isFinite) {
      throw KilnError(.argument, "--mask-decay is \(maskDecay), not a number >= 0")
    }
    try checkBlock(sparsity)
    try checkSparseOptimizer(sparsity)
  }

  private func checkSlimming() throws(KilnError) {
    guard let slimming else { return }
    if let sparsity, !sparsity.isEarly {
      throw KilnError(
        .argument, "--slimming is of dense weights, and --sparsity \(sparsity.rawValue) makes others of them",
        hint: "leave one of them out")
    }
    guard slimming >= 0, slimming.isFinite else {
      throw KilnError(.argument, "--slimming is \(slimming), not a number >= 0")
    }
    try checkEvaluated("slimming", "weights times their factors")
  }

  /// Of a flag by which the model is evaluated with other weights than are trained.
  private func checkEvaluated(_ flag: String, _ what: String) throws(KilnError) {
    guard [.scheduleFree, .apg, .apgnc].contains(optimizer) else { return }
    throw KilnError(
      .argument, "--\(flag) evaluates \(what), and --optimizer \(optimizer.rawValue) others",
      hint: "use --optimizer adamw")
  }

  private func checkBlock(_ sparsity: Sparsity) throws(KilnError) {
    guard let block else { return }
    guard case .groups = block else {
      guard sparsity.isMasked else { return }
      throw KilnError(
        .argument, "--sparsity \(sparsity.rawValue) keeps N of each M, and --block is \(block)", hint: "such as 2:4")
    }
    if let density, density != keptShare {
      throw KilnError(.argument, "--block \(block) keeps \(keptShare), and --density is \(density)")
    }
    if let layerDensity, layerDensity != .uniform {
      throw KilnError(
        .argument, "--block \(block) keeps the same share everywhere, and --layer-density is \(layerDensity.rawValue)")
    }
  }

  private func checkSparseOptimizer(_ sparsity: Sparsity) throws(KilnError) {
    if sparsity.isMasked {
      return try checkEvaluated("sparsity \(sparsity.rawValue)", "masked weights")
    }
    if sparsity.isEarly { return try checkEvaluated("sparsity \(sparsity.rawValue)", "weights times their factors") }
    if [.muon, .adafactor].contains(optimizer) {
      throw KilnError(
        .argument,
        "--optimizer \(optimizer.rawValue) updates whole matrices, and sparse ones are lists of what is kept",
        hint: "use --optimizer adamw")
    }
    guard sparsity.isDynamic else { return }
    if let place = offload.first(where: { $0 != .activations }) {
      throw KilnError(
        .argument,
        "--sparsity \(sparsity.rawValue) moves states with the pattern: --offload \(place.rawValue) has them away",
        hint: "leave --offload \(place.rawValue) out")
    }
    if optimizerState == .linear {
      throw KilnError(.argument, "--sparsity \(sparsity.rawValue) does not move states in \(optimizerState.rawValue)")
    }
    if sparsity != .topKAST, steps == nil, epochs == nil, maxTime != nil {
      throw KilnError(
        .argument, "--sparsity \(sparsity.rawValue) ends changes at a share of the steps, and --max-time gives none",
        hint: "give --steps as well")
    }
  }
}
