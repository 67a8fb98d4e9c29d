import KilnKernels
import KilnLayers

/// Pixelated butterfly (Dao et al., arXiv 2112.00029): of each matrix the blocks of a flat butterfly, beside which stands a
/// product of low rank. Block (i, j) is kept where i = j or i xor j is a power of two; of a matrix that is not square, the
/// places of the shorter side count.
public struct Pixelfly: SparsityMethod {
  public static let defaultRank = 32
  public var rank: Int

  public init(rank: Int? = nil) { self.rank = rank ?? Self.defaultRank }

  public var layerDensity: LayerDensity { .uniform }

  public func patterns(_ choice: PatternChoice) throws(KilnError) -> SparsePatterns {
    var patterns: SparsePatterns = [:]
    for layer in choice.layers {
      let size = choice.format.blocks(rows: layer.rows, columns: layer.columns)
      let short = min(size.rows, size.columns)
      let kept = (0..<size.rows * size.columns).filter { place in
        let i = place / size.columns * short / size.rows
        let j = place % size.columns * short / size.columns
        return i == j || (i ^ j).nonzeroBitCount == 1
      }
      let pattern = try SparsePattern(choice.format, rows: layer.rows, columns: layer.columns, count: kept.count)
      pattern.keep(kept)
      patterns[layer.name] = pattern
    }
    return patterns
  }

  public func forms(_ choice: PatternChoice) throws(KilnError) -> WeightForms {
    var forms = WeightForms(patterns: try patterns(choice))
    forms.ranks = forms.patterns.mapValues { min(rank, $0.rows, $0.columns) }
    return forms
  }
}
