import KilnGraph
import KilnKernels

/// Lion (Chen et al., arXiv 2302.06675): every element moves by the learning rate, in the direction of the sign of a
/// momentum. One state; learning rates 3 to 10 times smaller than Adam's, weight decay as much larger.
public struct Lion: Optimizer {
  public var betas: (Double, Double)
  public var weightDecay: Double
  public var format: StateFormat

  public init(
    betas: (Double, Double) = (0.9, 0.99), weightDecay: Double = 0, format: StateFormat = .fp32
  ) throws(KilnError) {
    try check(betas: betas)
    self.betas = betas
    self.weightDecay = weightDecay
    self.format = format
  }

  public var isElementwise: Bool { true }

  public func states(of weight: Parameter) -> [Parameter] { format.tensors("exp_avg", of: weight) }

  public func update(_ w: WeightUpdate) throws(KilnError) {
    try w.context.lion(w.weight, m: w.state(0), w.gradient, betas: betas, w.options)
  }

  public var summary: String { "betas \(betas.0) \(betas.1), weight decay \(weightDecay)" }
}
