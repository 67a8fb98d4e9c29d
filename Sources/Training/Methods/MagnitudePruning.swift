import KilnKernels
import KilnLayers

/// Keeps the weights of the largest magnitude; of blocks, those of the largest norm.
public struct MagnitudePruning: SparsityMethod {
  public init() {}

  public var layerDensity: LayerDensity { .global }

  public func patterns(_ choice: PatternChoice) throws(KilnError) -> SparsePatterns {
    let weights = try choice.probe.weights()
    return try choice.patterns(
      keeping: choice.layers.map { layer in
        let w = weights[layer.name]!
        return layer.blockSums(choice.format) { w[$0] * w[$0] }
      })
  }
}
