import KilnKernels
import KilnLayers

/// RigL (Evci et al., arXiv 1911.11134): from time to time, in place of an update, the weights of the smallest magnitude
/// go, and as many come where the dense gradient is largest, from 0 on.
public struct RigL: SparsityMethod {
  public let change: PatternChange?
  public var layerDensity: LayerDensity { .erk }

  /// - Parameters:
  ///   - every: steps between changes.
  ///   - end: the step from which on nothing changes; the paper has 3/4 of all.
  ///   - fraction: of what is kept, that goes at first; it falls to 0 as a cosine does.
  public init(every: Int = 100, until end: Int, fraction: Double = 0.3) {
    change = PatternChange(every: every, end: end, fraction: fraction, anneals: true, growth: .gradient)
  }

  public func patterns(_ choice: PatternChoice) throws(KilnError) -> SparsePatterns {
    try RandomPruning().patterns(choice)
  }
}
