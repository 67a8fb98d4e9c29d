import KilnKernels
import KilnLayers

/// Keeps blocks at random: what every other method is held against.
public struct RandomPruning: SparsityMethod {
  public init() {}

  public var layerDensity: LayerDensity { .erk }

  public func patterns(_ choice: PatternChoice) throws(KilnError) -> SparsePatterns {
    var scores: [[Float]] = []
    for (site, layer) in choice.layers.enumerated() {
      let blocks = choice.format.blocks(rows: layer.rows, columns: layer.columns)
      let numbers = try Tensor(zeros: [blocks.rows, blocks.columns])
      try choice.probe.context.randomUniform(numbers, 0..<1, key: RandomKey(seed: choice.seed, site: UInt32(site)))
      scores.append(numbers.floats())
    }
    return try choice.patterns(keeping: scores)
  }
}
