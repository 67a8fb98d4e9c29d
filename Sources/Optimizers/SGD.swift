import KilnGraph
import KilnKernels

/// Stochastic gradient descent in the form of torch.optim.SGD, without or with momentum; weight decay is coupled (added
/// to the gradient).
public struct SGD: Optimizer {
  public var momentum: Double
  /// `plain`: the learning rate outside the velocity, as in torch; `nesterov`: looks ahead; `heavyBall` (Polyak): the
  /// learning rate inside.
  public var form: Context.Momentum
  public var weightDecay: Double
  public var format: StateFormat

  public init(
    momentum: Double = 0, form: Context.Momentum = .plain, weightDecay: Double = 0, format: StateFormat = .fp32
  ) throws(KilnError) {
    try check(momentum: momentum)
    guard form == .plain || momentum > 0 else {
      throw KilnError(
        .argument, "\(form == .nesterov ? "nesterov" : "heavy-ball") without momentum",
        hint: "give --momentum a value such as 0.9")
    }
    self.momentum = momentum
    self.form = form
    self.weightDecay = weightDecay
    self.format = format
  }

  public var isElementwise: Bool { true }

  public func states(of weight: Parameter) -> [Parameter] {
    momentum > 0 ? format.tensors("momentum", of: weight) : []
  }

  public func update(_ w: WeightUpdate) throws(KilnError) {
    try w.context.sgd(
      w.weight, momentum: momentum > 0 ? w.state(0) : nil, w.gradient, factor: momentum, form: form, w.options)
  }

  public var summary: String { (momentum > 0 ? "momentum \(momentum), " : "") + "weight decay \(weightDecay)" }
}
