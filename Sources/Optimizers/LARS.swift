import KilnGraph
import KilnKernels

/// LARS (You et al., arXiv 1708.03888) in the form of timm: SGD with momentum whose steps are, for each matrix, relative
/// to the norm of its weights. For large batches; biases and gains follow plain SGD.
public struct LARS: Optimizer {
  public var momentum: Double
  public var weightDecay: Double
  public var trust: Double
  public var format: StateFormat

  public init(
    momentum: Double = 0.9, weightDecay: Double = 0, trust: Double = 0.001, format: StateFormat = .fp32
  ) throws(KilnError) {
    try check(momentum: momentum)
    self.momentum = momentum
    self.weightDecay = weightDecay
    self.trust = trust
    self.format = format
  }

  public func states(of weight: Parameter) -> [Parameter] { format.tensors("momentum", of: weight) }

  public func update(_ w: WeightUpdate) throws(KilnError) {
    try w.context.lars(
      w.weight, m: w.state(0), w.gradient, momentum: momentum, trust: w.parameter.decays ? trust : 0, w.options)
  }

  public var summary: String { "momentum \(momentum), trust \(trust), weight decay \(weightDecay)" }
}
