import KilnKernels
import KilnLayers

/// SNIP (Lee et al., arXiv 1810.02340): keeps the weights whose loss would change most if they went, |g w| of one batch.
public struct SNIP: SparsityMethod {
  public init() {}

  public var layerDensity: LayerDensity { .global }

  public func patterns(_ choice: PatternChoice) throws(KilnError) -> SparsePatterns {
    let weights = try choice.probe.weights()
    let gradients = try choice.probe.gradients()
    return try choice.patterns(
      keeping: choice.layers.map { layer in
        let (w, g) = (weights[layer.name]!, gradients[layer.name]!)
        return layer.blockSums(choice.format) { abs(w[$0] * g[$0]) }
      })
  }
}
