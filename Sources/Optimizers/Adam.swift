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

  public func states(of weight: Parameter) -> [Parameter] {
    format.tensors("exp_avg", of: weight) + format.tensors("exp_avg_sq", of: weight)
  }

  public func update(
    _ weight: Parameter, states: [Parameter], gradient: Value, lr: Value, scale: Value
  ) throws(KilnError) {
    try record(
      decoupled ? "AdamW" : "Adam", weight, states: states, gradient: gradient, lr: lr, scale: scale,
      weightDecay: weightDecay, format: format
    ) { [betas, eps, decoupled] (a) throws(KilnError) in
      try a.context.adam(
        a.weight, m: a.state(0), v: a.state(1), a.gradient, betas: betas, eps: eps, decoupled: decoupled, a.options)
    }
  }

  public var summary: String { "betas \(betas.0) \(betas.1), eps \(eps), weight decay \(weightDecay)" }
}
