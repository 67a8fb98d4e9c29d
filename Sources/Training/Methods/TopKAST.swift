import KilnGraph
import KilnKernels
import KilnLayers

/// Top-KAST (Jayakumar et al., arXiv 2106.03517): products take the largest weights; a larger part has gradients, so that
/// weights can grow into the first; both are chosen anew from time to time among all weights, of which the rest waits as it
/// is. What pulls weights towards 0 is stronger beyond the first part, so that those that come in have earned it.
public struct TopKAST: SparsityMethod {
  /// The pull, as a gradient of so many times the weight.
  public static let decay = 1e-4

  public let change: PatternChange?
  public var layerDensity: LayerDensity { .uniform }
  private let backward: Double

  /// - Parameters:
  ///   - every: steps between choices.
  ///   - backward: the share that has gradients.
  public init(every: Int = 100, backward: Double) {
    change = PatternChange(every: every, end: .max, fraction: 0, anneals: false, growth: .magnitude)
    self.backward = backward
  }

  public func patterns(_ choice: PatternChoice) throws(KilnError) -> SparsePatterns {
    let taken = try MagnitudePruning().patterns(choice)
    let trained = try MagnitudePruning().patterns(choice.keeping(backward))
    var patterns: SparsePatterns = [:]
    for (name, outer) in trained {
      guard let inner = taken[name] else { continue }
      let pattern = try SparsePattern(
        outer.format, rows: outer.rows, columns: outer.columns, count: outer.count, active: inner.count)
      pattern.keep(outer.kept)
      pattern.active?.keep(inner.kept)
      patterns[name] = pattern
    }
    return patterns
  }
}

extension Parameter {
  /// All of a weight of which a part is trained: where the rest waits, outputs by inputs.
  var whole: Parameter? {
    type.pattern.map { Parameter("whole.\(name)", [$0.rows, $0.columns], role: .state) }
  }
}
