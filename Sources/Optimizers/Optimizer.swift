import KilnGraph
import KilnKernels

/// How weights follow their gradients: state tensors, and the update operation of one parameter.
public protocol Optimizer: Sendable {
  /// The tensors that a parameter has as state, in the order in which `update` takes them. They start as zeros.
  func states(of weight: Parameter) -> [Parameter]

  /// Records the update of `weight`. Everything is in place.
  /// - Parameters:
  ///   - states: those of the weight.
  ///   - lr: the learning rate of the step (float64 scalar).
  ///   - scale: multiplies the gradient (float64 scalar); the update waits for it. Where it is 0 the gradient is of no
  ///     use (it may be infinite or NaN) and the step is skipped: the update leaves weight and states as they are.
  func update(
    _ weight: Parameter, states: [Parameter], gradient: Value, lr: Value, scale: Value
  ) throws(KilnError)

  /// In words, for whoever reads about the run: the hyperparameters.
  var summary: String { get }
}

/// The update of one weight, in place.
/// Inputs: weight, gradient, learning rate, gradient scale, then the state tensors.
struct Update: Operation {
  /// What a method works with.
  struct Arguments {
    let context: Context
    let weight, gradient: Tensor
    let states: [Tensor]
    var options: Context.UpdateOptions
  }

  let method: String
  let weightDecay: Double
  let roundsStochastically: Bool
  /// Which random numbers the rounding takes: others for each weight.
  let site: UInt32
  let stateCount: Int
  let apply: @Sendable (Arguments) throws(KilnError) -> Void

  func outputs(for inputs: [TensorType]) throws(KilnError) -> [TensorType] { [] }

  var mutated: [Int] { [0] + (4..<4 + stateCount) }
  var isEager: Bool { true }
  var label: String { method }

  func run(in step: StepContext, inputs: [Tensor], outputs: [Tensor]) throws(KilnError) {
    var options = Context.UpdateOptions()
    options.weightDecay = weightDecay
    options.step = step.step + 1
    // In query mode nothing has data: the kernel then tells what scratch it takes.
    if inputs[0].storage != nil {
      guard inputs[3].scalar != 0 else { return }
      (options.lr, options.gradientScale) = (inputs[2].scalar, inputs[3].scalar)
    }
    options.rounding = roundsStochastically ? step.key(site: site) : nil
    try apply(
      Arguments(
        context: step.context, weight: inputs[0], gradient: inputs[1], states: Array(inputs[4...]), options: options))
  }
}

extension Optimizer {
  /// Records an update by `apply`.
  func record(
    _ method: String, _ weight: Parameter, states: [Parameter], gradient: Value, lr: Value, scale: Value,
    weightDecay: Double, format: StateFormat = .fp32,
    apply: @escaping @Sendable (Update.Arguments) throws(KilnError) -> Void
  ) throws(KilnError) {
    let graph = gradient.graph
    // FNV-1a
    let site = weight.name.utf8.reduce(UInt32(2_166_136_261)) { ($0 ^ UInt32($1)) &* 16_777_619 }
    let operation = Update(
      method: method, weightDecay: weight.decays ? weightDecay : 0, roundsStochastically: format == .stochastic,
      site: site, stateCount: states.count, apply: apply)
    try graph.record(operation, [graph[weight], gradient, lr, scale] + states.map { graph[$0] })
  }
}

func check(beta: Double) throws(KilnError) {
  guard (0..<1).contains(beta) else { throw KilnError(.argument, "beta \(beta) is not in 0 ..< 1") }
}

func check(betas: (Double, Double)) throws(KilnError) {
  try check(beta: betas.0)
  try check(beta: betas.1)
}

func check(eps: Double) throws(KilnError) {
  guard eps > 0 else { throw KilnError(.argument, "eps \(eps) is not positive") }
}
