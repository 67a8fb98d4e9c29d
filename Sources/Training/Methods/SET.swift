import KilnKernels
import KilnLayers

/// Sparse evolutionary training (Mocanu et al., arXiv 1707.04780): from time to time the weights nearest to zero go, of the
/// positive and of the negative ones the same share, and as many come at random places.
public struct SET: SparsityMethod {
  public let change: PatternChange?
  public var layerDensity: LayerDensity { .erk }

  /// - Parameters:
  ///   - every: steps between changes.
  ///   - fraction: of what is kept, that goes.
  public init(every: Int = 100, until end: Int, fraction: Double = 0.3) {
    change = PatternChange(every: every, end: end, fraction: fraction, anneals: false, growth: .random)
  }

  public func patterns(_ choice: PatternChoice) throws(KilnError) -> SparsePatterns {
    try RandomPruning().patterns(choice)
  }
}
