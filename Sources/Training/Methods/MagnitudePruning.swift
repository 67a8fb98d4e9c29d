import KilnGraph
import KilnKernels
import KilnLayers

/// Keeps the weights of the largest magnitude; of blocks, those of the largest norm. With --model and N:M this is the second
/// half of the recipe of NVIDIA's ASP (Mishra et al., arXiv 2104.08378): train a dense model, prune it, train it again.
public struct MagnitudePruning: SparsityMethod {
  /// The model whose weights decide; nil for the one that is trained. With the weights of an earlier step in that one this
  /// is a lottery ticket (Frankle & Carbin, arXiv 1803.03635).
  public let source: String?

  public init(source: String? = nil) { self.source = source }

  public var layerDensity: LayerDensity { .global }

  public func patterns(_ choice: PatternChoice) throws(KilnError) -> SparsePatterns {
    let weights = if let source { try choice.probe.weights(of: source) } else { try choice.probe.weights() }
    return try choice.patterns(
      keeping: choice.layers.map { layer in
        let w = weights[layer.name]!
        return layer.blockSums(choice.format) { w[$0] * w[$0] }
      })
  }
}
