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

  public func states(of weight: Parameter) -> [Parameter] { format.tensors("exp_avg", of: weight) }

  public func update(
    _ weight: Parameter, states: [Parameter], gradient: Value, lr: Value, scale: Value
  ) throws(KilnError) {
    try record(
      "Lion", weight, states: states, gradient: gradient, lr: lr, scale: scale, weightDecay: weightDecay, format: format
    ) { [betas] (a) throws(KilnError) in
      try a.context.lion(a.weight, m: a.state(0), a.gradient, betas: betas, a.options)
    }
  }

  public var summary: String { "betas \(betas.0) \(betas.1), weight decay \(weightDecay)" }
}
