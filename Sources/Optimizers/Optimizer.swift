import KilnGraph
import KilnKernels

/// How weights follow their gradients: state tensors, and the update of one weight.
public protocol Optimizer: Sendable {
  /// Of matrices; biases and gains have none.
  var weightDecay: Double { get }

  /// How states are kept.
  var format: StateFormat { get }

  /// The tensors that a weight has as state; they start as zeros.
  func states(of weight: Parameter) -> [Parameter]

  /// Updates a weight and its states, in place.
  func update(_ w: WeightUpdate) throws(KilnError)

  /// Whether the gradient of an update is still read when the update has returned. `releaseGradient` waits for that; it is
  /// called before the next update and at the end of the step.
  var holdsGradient: Bool { get }
  func releaseGradient() throws(KilnError)

  /// Whether something is to be done when all weights have been updated, which `endStep` does.
  var endsStep: Bool { get }
  func endStep(_ step: StepContext, _ weights: [(parameter: Parameter, tensor: Tensor)]) throws(KilnError)

  /// Whether every element follows its own gradient and state alone, so that parts of a weight may be updated apart.
  var isElementwise: Bool { get }

  /// What stands for a weight where the model is evaluated or saved: by default the weight itself.
  func evaluated(_ weight: Parameter) -> EvaluatedWeight?

  /// The method, for plans and messages: by default the type's name.
  var name: String { get }

  /// In words, for whoever reads about the run: the hyperparameters.
  var summary: String { get }
}

/// What an optimizer works with: a weight in one step.
public struct WeightUpdate {
  public let context: Context
  public let parameter: Parameter
  public let weight, gradient: Tensor
  /// In the order of `Optimizer.states(of:)`.
  public let states: [Tensor]
  public let options: Context.UpdateOptions
}

/// A weight to evaluate with: the first of the tensors, or what `operation` makes of them.
public struct EvaluatedWeight {
  public let inputs: [Parameter]
  public let operation: (any Operation)?

  public init(inputs: [Parameter], operation: (any Operation)?) {
    self.inputs = inputs
    self.operation = operation
  }

  /// As a value of a graph.
  public func value(in graph: Graph) throws(KilnError) -> Value {
    let values = inputs.map { graph[$0] }
    return try operation.map { (operation) throws(KilnError) in try graph.record(operation, values)[0] } ?? values[0]
  }

  /// As a tensor.
  public func tensor(from store: ParameterStore, context: Context) throws(KilnError) -> Tensor {
    let tensors = try inputs.map { (parameter) throws(KilnError) in try store.tensor(parameter) }
    guard let operation else { return tensors[0] }
    let result = try Tensor(zeros: inputs[0].shape, inputs[0].type.dtype, on: context)
    try operation.run(in: StepContext(context: context), inputs: tensors, outputs: [result])
    return result
  }
}

extension Optimizer {
  public var format: StateFormat { .fp32 }
  public var isElementwise: Bool { false }
  public var holdsGradient: Bool { false }
  public func releaseGradient() throws(KilnError) {}
  public var endsStep: Bool { false }
  public func endStep(_ step: StepContext, _ weights: [(parameter: Parameter, tensor: Tensor)]) throws(KilnError) {}
  public var name: String { String(describing: type(of: self)) }
  public func evaluated(_ weight: Parameter) -> EvaluatedWeight? { nil }

  /// Records the update of `weight`.
  /// - Parameters:
  ///   - lr: the learning rate of the step (float64 scalar).
  ///   - scale: multiplies the gradient (float64 scalar); the update waits for it. Where it is 0 the gradient is of no
  ///     use (it may be infinite or NaN) and the step is skipped: the update leaves weight and states as they are.
  public func record(_ weight: Parameter, gradient: Value, lr: Value, scale: Value) throws(KilnError) {
    let graph = gradient.graph
    let states = states(of: weight)
    let operation = Update(optimizer: self, parameter: weight, stateCount: states.count)
    try graph.record(operation, [graph[weight], gradient, lr, scale] + states.map { graph[$0] })
  }

  /// Refuses an optimizer whose states something beside its updates needs, where they are.
  func checkOffloadable(_ weights: [Parameter]) throws(KilnError) {
    guard weights.contains(where: { evaluated($0) != nil }) else { return }
    throw KilnError(
      .argument, "the states of \(name) are what it evaluates with: they cannot be offloaded",
      hint: "leave --offload out, or choose another --optimizer")
  }

  /// Records what is done after the updates of all weights.
  public func recordEnd(of weights: [Parameter], in graph: Graph) throws(KilnError) {
    guard endsStep || holdsGradient else { return }
    try graph.record(EndOfStep(optimizer: self, weights: weights), weights.map { graph[$0] })
  }
}

/// The end of a step, for an optimizer that does something then. Inputs: the weights.
struct EndOfStep: Operation {
  let optimizer: any Optimizer
  let weights: [Parameter]

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [] }
  var mutated: [Int] { Array(weights.indices) }
  var holdsInputs: Bool { optimizer.holdsGradient }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    try optimizer.releaseGradient()
    try optimizer.endStep(step, zip(weights, inputs).map { ($0, $1) })
  }
}

/// The update of one weight, in place.
/// Inputs: weight, gradient, learning rate, gradient scale, then the state tensors.
struct Update: Operation {
  let optimizer: any Optimizer
  let parameter: Parameter
  let stateCount: Int

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [] }

  var mutated: [Int] { [0] + (4..<4 + stateCount) }
  var isEager: Bool { true }
  var holdsInputs: Bool { optimizer.holdsGradient }
  var label: String { optimizer.name }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    var options = Context.UpdateOptions()
    options.weightDecay = parameter.decays ? optimizer.weightDecay : 0
    options.step = step.step + 1
    // In query mode nothing has data: the kernel then tells what scratch it takes.
    if inputs[0].storage != nil {
      try optimizer.releaseGradient()
      guard inputs[3].scalar != 0 else { return }
      (options.lr, options.gradientScale) = (inputs[2].scalar, inputs[3].scalar)
    }
    options.rounding = step.key(site: parameter.randomSite)
    options.roundsStatesStochastically = optimizer.format == .stochastic
    options.hasLinearSquares = optimizer.format == .linear
    try optimizer.update(
      WeightUpdate(
        context: step.context, parameter: parameter, weight: inputs[0], gradient: inputs[1],
        states: Array(inputs[4...]), options: options))
  }
}

func check(momentum: Double) throws(KilnError) {
  guard (0..<1).contains(momentum) else { throw KilnError(.argument, "momentum \(momentum) is not in 0 ..< 1") }
}

func check(betas: (Double, Double)) throws(KilnError) {
  for beta in [betas.0, betas.1] {
    guard (0..<1).contains(beta) else { throw KilnError(.argument, "beta \(beta) is not in 0 ..< 1") }
  }
}

func check(eps: Double) throws(KilnError) {
  guard eps > 0 else { throw KilnError(.argument, "eps \(eps) is not positive") }
}
