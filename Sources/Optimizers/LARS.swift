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
    guard (0..<1).contains(momentum) else { throw KilnError(.argument, "momentum \(momentum) is not in 0 ..< 1") }
    self.momentum = momentum
    self.weightDecay = weightDecay
    self.trust = trust
    self.format = format
  }

  public func states(of weight: Parameter) -> [Parameter] { format.tensors("momentum", of: weight) }

  public func update(
    _ weight: Parameter, states: [Parameter], gradient: Value, lr: Value, scale: Value
  ) throws(KilnError) {
    let trust = weight.decays ? trust : 0
    try record(
      "LARS", weight, states: states, gradient: gradient, lr: lr, scale: scale, weightDecay: weightDecay, format: format
    ) { [momentum] (a) throws(KilnError) in
      try a.context.lars(a.weight, m: a.state(0), a.gradient, momentum: momentum, trust: trust, a.options)
    }
  }

  public var summary: String { "momentum \(momentum), trust \(trust), weight decay \(weightDecay)" }
}
