import KilnGraph
import KilnKernels

/// Adam (Kingma & Ba, arXiv 1412.6980), and AdamW (Loshchilov & Hutter, arXiv 1711.05101) where the decay is decoupled.
public struct Adam: Optimizer {
  public var betas: (Double, Double)
  public var eps: Double
  public var weightDecay: Double
  /// AdamW: the decay shrinks the weight itself and does not go through the moments.
  public var decoupled: Bool
  public var format: StateFormat

  public init(
    betas: (Double, Double) = (0.9, 0.999), eps: Double = 1e-8, weightDecay: Double = 0, decoupled: Bool = false,
    format: StateFormat = .fp32
  ) throws(KilnError) {
    try check(betas: betas)
    try check(eps: eps)
    self.betas = betas
    self.eps = eps
    self.weightDecay = weightDecay
    self.decoupled = decoupled
    self.format = format
  }

  public var isElementwise: Bool { true }

  public func states(of weight: Parameter) -> [Parameter] {
    format.tensors("exp_avg", of: weight) + format.tensors("exp_avg_sq", of: weight)
  }

  public func update(_ w: WeightUpdate) throws(KilnError) {
    try w.context.adam(
      w.weight, m: w.state(0), v: w.state(1), w.gradient, betas: betas, eps: eps, decoupled: decoupled, w.options)
  }

  public var name: String { decoupled ? "AdamW" : "Adam" }

  public var summary: String { "betas \(betas.0) \(betas.1), eps \(eps), weight decay \(weightDecay)" }
}
