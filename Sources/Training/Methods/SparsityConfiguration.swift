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
    case .magnitude: MagnitudePruning()
    case .snip: SNIP()
    case .grasp: GraSP()
    case .synflow: SynFlow()
    case .set: SET(every: patternEvery ?? 100, until: until, fraction: dropFraction ?? 0.3)
    case .rigl: RigL(every: patternEvery ?? 100, until: until, fraction: dropFraction ?? 0.3)
    }
  }

  /// The patterns that a new run begins with; nil for dense weights.
  func patterns(for inputs: Inputs, context: Context) throws(KilnError) -> SparsePatterns? {
    guard let method = try makeSparsity(steps: inputs.steps(self)) else { return nil }
    let format = block ?? .blocks(rows: 1, columns: 1)
    let layers = try inputs.model.parameters.filter { $0.projection != nil }.map {
      (parameter) throws(KilnError) -> PatternChoice.Layer in
      guard parameter.type.pattern == nil else {
        throw KilnError(
          .argument, "'\(parameter.name)' of the model is sparse already",
          hint: "leave --sparsity out to train what it keeps")
      }
      let shape = parameter.outputsByInputs(Tensor(parameter.shape, .float32, in: nil)).shape
      if case .groups(_, let group) = format, shape[1] % group != 0 {
        throw KilnError(
          .argument, "--block \(format) does not fit '\(parameter.name)': \(shape[1]) inputs are not whole groups")
      }
      return PatternChoice.Layer(name: parameter.name, rows: shape[0], columns: shape[1])
    }
    return try method.patterns(
      PatternChoice(
        layers: layers, format: format, density: keptShare, layerDensity: layerDensity ?? method.layerDensity,
        seed: seed,
        probe: DenseProbe(inputs, self, context: context)))
  }

  private var keptShare: Double {
    if case .groups(let kept, let group) = block { return Double(kept) / Double(group) }
    return density ?? Self.defaultDensity
  }

  func checkSparsity() throws(KilnError) {
    let flags: [(String, Bool)] = [
      ("density", density != nil), ("block", block != nil), ("layer-density", layerDensity != nil),
      ("pattern-every", patternEvery != nil), ("drop-fraction", dropFraction != nil),
      ("pattern-until", patternUntil != nil),
    ]
    guard let sparsity else {
      guard let flag = flags.first(where: \.1) else { return }
      throw KilnError(
        .argument, "--\(flag.0) is of sparse weights, and nothing makes them sparse", hint: "give --sparsity as well")
    }
    for (flag, isGiven) in flags.suffix(3) where isGiven && !sparsity.isDynamic {
      throw KilnError(
        .argument, "--\(flag) is of patterns that change, and those of \(sparsity.rawValue) do not",
        hint: "use --sparsity set or rigl")
    }
    if let density, !(density > 0 && density <= 1) {
      throw KilnError(.argument, "--density is \(density), not in 0 ..< 1 or 1", hint: "0.1 keeps a tenth")
    }
    if let dropFraction, !(0...1).contains(dropFraction) {
      throw KilnError(.argument, "--drop-fraction is \(dropFraction), not in 0 ... 1")
    }
    if let patternUntil, !(0...1).contains(patternUntil) {
      throw KilnError(.argument, "--pattern-until is \(patternUntil), not in 0 ... 1")
    }
    if let patternEvery, patternEvery < 1 { throw KilnError(.argument, "--pattern-every is \(patternEvery)") }
    if case .groups = block, let density, density != keptShare {
      throw KilnError(.argument, "--block \(block!) keeps \(keptShare), and --density is \(density)")
    }
    if case .groups = block, let layerDensity, layerDensity != .uniform {
      throw KilnError(
        .argument, "--block \(block!) keeps the same share everywhere, and --layer-density is \(layerDensity)")
    }
    try checkSparseOptimizer(sparsity)
  }

  private func checkSparseOptimizer(_ sparsity: Sparsity) throws(KilnError) {
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
    if steps == nil, epochs == nil, maxTime != nil {
      throw KilnError(
        .argument, "--sparsity \(sparsity.rawValue) ends changes at a share of the steps, and --max-time gives none",
        hint: "give --steps as well")
    }
  }
}
