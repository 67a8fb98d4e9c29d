import KilnGraph
import KilnKernels

/// LAMB (You et al., arXiv 1904.00962) in the form of timm: Adam whose steps are, for each matrix, relative to the norm
/// of its weights. For large batches; biases and gains follow Adam.
public struct LAMB: Optimizer {
  public var betas: (Double, Double)
  public var eps: Double
  public var weightDecay: Double
  public var format: StateFormat

  public init(
    betas: (Double, Double) = (0.9, 0.999), eps: Double = 1e-6, weightDecay: Double = 0.01, format: StateFormat = .fp32
  ) throws(KilnError) {
    try check(betas: betas)
    try check(eps: eps)
    try format.check(among: [.fp32, .bf16, .stochastic], of: "lamb")
    self.betas = betas
    self.eps = eps
    self.weightDecay = weightDecay
    self.format = format
  }

  public func states(of weight: Parameter) -> [Parameter] {
    format.tensors("exp_avg", of: weight) + format.tensors("exp_avg_sq", of: weight)
  }

  public func update(_ w: WeightUpdate) throws(KilnError) {
    try w.context.lamb(
      w.weight, m: w.state(0), v: w.state(1), w.gradient, betas: betas, eps: eps, adapts: w.parameter.decays, w.options)
  }

  public var summary: String { "betas \(betas.0) \(betas.1), eps \(eps), weight decay \(weightDecay)" }
}
