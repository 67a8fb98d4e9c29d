import KilnGraph
import KilnKernels

/// Stochastic gradient descent, with momentum (Polyak) or Nesterov's look-ahead, in the form of torch.optim.SGD; weight
/// decay is coupled (added to the gradient).
public struct SGD: Optimizer {
  public static let name = "sgd"

  public var momentum: Double
  public var nesterov: Bool
  public var weightDecay: Double

  public init(momentum: Double = 0, nesterov: Bool = false, weightDecay: Double = 0) throws(KilnError) {
    guard (0..<1).contains(momentum) else { throw KilnError(.argument, "momentum \(momentum) is not in 0 ..< 1") }
    guard !nesterov || momentum > 0 else {
      throw KilnError(.argument, "nesterov without momentum", hint: "give --momentum a value such as 0.9")
    }
    self.momentum = momentum
    self.nesterov = nesterov
    self.weightDecay = weightDecay
  }

  public var slots: [String] { momentum > 0 ? ["momentum"] : [] }

  public func update(
    _ weight: Parameter, states: [Parameter], gradient: Value, lr: Value, scale: Value
  ) throws(KilnError) {
    let graph = gradient.graph
    let operation = SGDUpdate(rule: self, weightDecay: weight.decays ? weightDecay : 0)
    try graph.record(operation, [graph[weight], gradient, lr, scale] + states.map { graph[$0] })
  }
}

/// Inputs: weight, gradient, learning rate, gradient scale, then the momentum.
private struct SGDUpdate: Operation {
  let rule: SGD
  let weightDecay: Double

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [] }

  var mutated: [Int] { rule.momentum > 0 ? [0, 4] : [0] }

  var isEager: Bool { true }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    guard inputs[0].storage != nil, inputs[3].scalar != 0 else { return }
    try step.context.sgd(
      inputs[0], momentum: rule.momentum > 0 ? inputs[4] : nil, inputs[1], lr: inputs[2].scalar,
      momentum: rule.momentum,
      nesterov: rule.nesterov, weightDecay: weightDecay, gradientScale: inputs[3].scalar)
  }
}
