import KilnGraph
import KilnKernels

/// Schedule-Free AdamW (Defazio et al., arXiv 2405.15682): no decay of the learning rate; an average of the iterates is
/// what the model is evaluated and saved with.
public struct ScheduleFree: Optimizer {
  public var betas: (Double, Double)
  public var eps: Double
  public var weightDecay: Double

  public init(
    betas: (Double, Double) = (0.9, 0.999), eps: Double = 1e-8, weightDecay: Double = 0, format: StateFormat = .fp32
  ) throws(KilnError) {
    try check(betas: betas)
    guard betas.0 > 0 else {
      throw KilnError(.argument, "the first beta of schedule-free is 0", hint: "give one above 0, such as 0.9")
    }
    try check(eps: eps)
    try format.check(among: [.fp32], of: "schedule-free")
    self.betas = betas
    self.eps = eps
    self.weightDecay = weightDecay
  }

  /// The second moment, the iterate z, and for the weights of the average: their sum and the largest learning rate.
  public func states(of weight: Parameter) -> [Parameter] {
    [
      StateFormat.fp32.tensors("exp_avg_sq", of: weight)[0], iterate(of: weight),
      Parameter("optimizer.average.\(weight.name)", [2], .float64, role: .state),
    ]
  }

  private func iterate(of weight: Parameter) -> Parameter { StateFormat.fp32.tensors("z", of: weight)[0] }

  public func update(_ w: WeightUpdate) throws(KilnError) {
    try w.context.scheduleFree(
      w.weight, v: w.states[0], z: w.states[1], w.gradient, betas: betas, eps: eps,
      share: share(of: w.options.lr, w.states[2]), w.options)
  }

  /// Of the new iterate in the average: iterates count as the square of the largest learning rate so far.
  private func share(of lr: Double, _ average: Tensor) -> Double {
    guard average.storage != nil else { return 1 }
    var values = average.doubles()
    values[1] = max(values[1], lr)
    let weight = values[1] * values[1]
    values[0] += weight
    average.copy(from: values)
    return values[0] > 0 ? weight / values[0] : 0
  }

  public func evaluated(_ weight: Parameter) -> EvaluatedWeight? {
    EvaluatedWeight(inputs: [weight, iterate(of: weight)], operation: ScheduleFreeAverage(beta: betas.0))
  }

  public var summary: String { "betas \(betas.0) \(betas.1), eps \(eps), weight decay \(weightDecay)" }
}

/// x = (w - (1 - beta) z) / beta. Inputs: w, z.
private struct ScheduleFreeAverage: Operation {
  let beta: Double

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [inputs[0]] }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try step.context.scheduleFreeAverage(outputs[0], inputs[0], z: inputs[1], beta: beta)
  }
}
