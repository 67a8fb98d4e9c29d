import KilnKernels
import KilnLayers

/// GraSP (Wang et al., arXiv 2002.07376): removes the weights without which the gradient's norm grows most, those with the
/// highest -w (H g). The product with the Hessian is a central difference of gradients along g.
public struct GraSP: SparsityMethod {
  public init() {}

  public var layerDensity: LayerDensity { .global }

  /// Of the weights' norm: how far the difference goes.
  private static let step = 1e-3

  public func patterns(_ choice: PatternChoice) throws(KilnError) -> SparsePatterns {
    let probe = choice.probe
    let weights = try probe.weights()
    let gradients = try probe.gradients()
    let distance = Self.step * norm(weights) / max(norm(gradients), .leastNormalMagnitude)
    let ahead = try probe.gradients(along: gradients, by: distance)
    let behind = try probe.gradients(along: gradients, by: -distance)
    return try choice.patterns(
      keeping: choice.layers.map { layer in
        let (w, g1, g0) = (weights[layer.name]!, ahead[layer.name]!, behind[layer.name]!)
        return layer.blockSums(choice.format) { w[$0] * (g1[$0] - g0[$0]) }
      })
  }

  private func norm(_ values: [String: [Float]]) -> Double {
    values.values.reduce(0) { $0 + $1.reduce(0) { $0 + Double($1) * Double($1) } }.squareRoot()
  }
}
