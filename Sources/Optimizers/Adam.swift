import KilnGraph
import KilnKernels

/// Adam (Kingma & Ba, arXiv 1412.6980), and AdamW (Loshchilov & Hutter, arXiv 1711.05101) where the decay is decoupled.
public struct Adam: Optimizer {
  public static let name = "adam"

  public var betas: (Double, Double)
  public var eps: Double
  public var weightDecay: Double
  /// AdamW: the decay shrinks the weight itself and does not go through the moments.
  public var decoupled: Bool

  public init(
    betas: (Double, Double) = (0.9, 0.999), eps: Double = 1e-8, weightDecay: Double = 0, decoupled: Bool = false
  ) throws(KilnError) {
    for beta in [betas.0, betas.1] where !(0..<1).contains(beta) {
      throw KilnError(.argument, "beta \(beta) is not in 0 ..< 1")
    }
    guard eps > 0 else { throw KilnError(.argument, "eps \(eps) is not positive") }
    self.betas = betas
    self.eps = eps
    self.weightDecay = weightDecay
    self.decoupled = decoupled
  }

  public var slots: [String] { ["exp_avg", "exp_avg_sq"] }

  public func update(
    _ weight: Parameter, states: [Parameter], gradient: Value, lr: Value, scale: Value
  ) throws(KilnError) {
    let graph = gradient.graph
    let operation = AdamUpdate(rule: self, weightDecay: weight.decays ? weightDecay : 0)
    try graph.record(operation, [graph[weight], gradient, lr, scale] + states.map { graph[$0] })
  }
}

/// Inputs: weight, gradient, learning rate, gradient scale, first and second moment.
private struct AdamUpdate: Operation {
  let rule: Adam
  let weightDecay: Double

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [] }

  var mutated: [Int] { [0, 4, 5] }

  var isEager: Bool { true }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    guard inputs[0].storage != nil, inputs[3].scalar != 0 else { return }
    try step.context.adam(
      inputs[0], m: inputs[4], v: inputs[5], inputs[1], step: step.step + 1, lr: inputs[2].scalar, betas: rule.betas,
      eps: rule.eps, weightDecay: weightDecay, decoupled: rule.decoupled, gradientScale: inputs[3].scalar)
  }
}
