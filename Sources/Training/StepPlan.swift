import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

/// A training step recorded: forward, backward and update in one graph, or, with micro-batches, the gradients of a part of
/// the batch, accumulated, and then the updates.
struct StepGraphs {
  /// A graph and what it is run for.
  struct Part {
    var graph: Graph
    var outputs: [Value]
  }

  let shape: TrainingStep.Shape
  let mode: TrainingStep.UpdateMode
  let weights: [Parameter]
  private(set) var gradient: Part
  private(set) var loss: Value
  /// Of the part that updates.
  private(set) var norm: Value
  /// What runs beside where gradients are accumulated.
  fileprivate let accumulation: Accumulation?
  /// Changes the patterns of sparse weights; nil where they stay.
  fileprivate let change: PatternChange.Recorded?

  fileprivate struct Accumulation {
    /// Applies accumulated gradients.
    let update: Part
    let clear: Part
    /// The squared norm of what has been accumulated so far.
    let squares: Part
    let sum: Value
  }

  init(
    _ model: any LanguageModel, _ optimizer: any Optimizer, _ shape: TrainingStep.Shape, change: PatternChange? = nil
  ) throws(KilnError) {
    self.shape = shape
    self.change = try change?.record(model, optimizer, shape)
    let accumulates = shape.microBatch < shape.batch
    mode = accumulates || shape.clip != nil || shape.precision.scalesLoss ? .deferred : .immediate
    let graph = Graph(precision: shape.precision, hasMasters: shape.hasMasters)
    let weights = shape.hasMasters ? model.parameters : model.parameters.map(shape.precision.operand)
    self.weights = weights
    loss = try model.loss(in: graph, batch: shape.microBatch, time: shape.time, mode: .training(dropout: shape.dropout))
    try graph.record(FiniteCheck(of: "the loss"), [loss])
    if accumulates {
      let buffers = Dictionary(uniqueKeysWithValues: weights.map { ($0, Self.buffer(of: $0)) })
      let sums = try graph.gradients(of: [(loss, graph.unit)], for: weights, into: buffers)
      gradient = Part(graph: graph, outputs: [loss] + sums.values.sorted { $0.id < $1.id })
      let update = Graph()
      norm = try Self.recordUpdates(weights.map { ($0, update[Self.buffer(of: $0)]) }, optimizer, shape, mode)
      let clear = Graph()
      for parameter in weights { try clear.record(Clear(), [clear[Self.buffer(of: parameter)]]) }
      let look = Graph()
      let squares = try Self.recordSquares(weights.map { ($0, look[Self.buffer(of: $0)]) }, in: look, mayOverflow: true)
      accumulation = Accumulation(
        update: Part(graph: update, outputs: [norm]), clear: Part(graph: clear, outputs: []),
        squares: Part(graph: look, outputs: [squares.sum]), sum: squares.sum)
    } else {
      let gradients = try graph.gradients(of: [(loss, graph.unit)], for: weights)
      let byCompletion = gradients.sorted { $0.value.id < $1.value.id }.map { ($0.key, $0.value) }
      norm = try Self.recordUpdates(byCompletion, optimizer, shape, mode)
      gradient = Part(graph: graph, outputs: [loss, norm])
      accumulation = nil
    }
  }

  /// The same with forward and backward rewritten.
  func rewritten(by rewrite: some Rewrite) -> StepGraphs {
    let rewritten = rewrite.apply(to: gradient.graph)
    var result = self
    result.gradient = Part(graph: rewritten.graph, outputs: gradient.outputs.map { rewritten[$0] })
    result.loss = rewritten[loss]
    if accumulation == nil { result.norm = rewritten[norm] }
    return result
  }

  /// The same with activations kept in few bits, and attention run again on what is kept of its inputs.
  func compressingActivations(_ compression: CompressActivations) -> StepGraphs {
    rewritten(by: Recompute.attention(of: gradient.graph)).rewritten(by: compression)
  }

  private static func buffer(of parameter: Parameter) -> Parameter {
    Parameter("gradient.\(parameter.name)", parameter.shape, role: .gradient)
  }

  /// The sum of all squares, and for each gradient a gate that opens when it has been found finite.
  private static func recordSquares(
    _ gradients: [(Parameter, Value)], in graph: Graph, mayOverflow: Bool
  ) throws(KilnError) -> (sum: Value, gates: [Value]) {
    var sum = graph.input("zero", .scalar(.float64))
    var gates: [Value] = []
    for (parameter, gradient) in gradients {
      let squares = SquaredNorm(of: "the gradient of \(parameter.name)", mayOverflow: mayOverflow)
      let results = try graph.record(squares, [sum, gradient])
      sum = results[0]
      gates.append(results[1])
    }
    return (sum, gates)
  }

  /// The global norm, and every parameter's update, which waits for its own gradient's check (immediate) or for all
  /// (deferred).
  private static func recordUpdates(
    _ gradients: [(Parameter, Value)], _ optimizer: any Optimizer, _ shape: TrainingStep.Shape,
    _ mode: TrainingStep.UpdateMode
  ) throws(KilnError) -> Value {
    guard let graph = gradients.first?.1.graph else { throw KilnError(.argument, "nothing is trained") }
    let lr = graph.input("lr", .scalar(.float64))
    let (sum, gates) = try recordSquares(gradients, in: graph, mayOverflow: shape.precision.scalesLoss)
    let unscale = shape.precision.scalesLoss ? [graph.input("unscale", .scalar(.float64))] : []
    let clipped = try graph.record(ClipScale(limit: shape.clip), [sum] + unscale)
    for ((parameter, gradient), gate) in zip(gradients, gates) {
      try optimizer.record(parameter, gradient: gradient, lr: lr, scale: mode == .deferred ? clipped[1] : gate)
    }
    try optimizer.recordEnd(of: gradients.map(\.0), in: graph)
    return clipped[0]
  }
}

/// A training step with a place for every tensor; nothing is allocated yet.
struct StepPlan {
  let shape: TrainingStep.Shape
  let mode: TrainingStep.UpdateMode
  let gradient: Plan
  let update: Plan?
  let clear: Plan?
  let squares: Plan?
  let choice: MonotoneChoice.Plans?
  let loss: Value
  let norm: Value
  let sum: Value?
  let change: PatternChange.Planned?
  /// What operations remember from step to step, other than weights and the optimizer's states.
  let memories: [Parameter]

  init(
    _ graphs: StepGraphs, _ model: any LanguageModel, _ optimizer: any Optimizer, planner: Planner
  ) throws(KilnError) {
    func plan(_ part: StepGraphs.Part) throws(KilnError) -> Plan { try planner.plan(part.graph, outputs: part.outputs) }
    shape = graphs.shape
    mode = graphs.mode
    gradient = try plan(graphs.gradient)
    let accumulation = graphs.accumulation
    update = try accumulation.map { (parts) throws(KilnError) in try plan(parts.update) }
    clear = try accumulation.map { (parts) throws(KilnError) in try plan(parts.clear) }
    squares = try accumulation.map { (parts) throws(KilnError) in try plan(parts.squares) }
    choice = try MonotoneChoice.Plans(model, optimizer, graphs.shape, planner: planner)
    change = try graphs.change.map { (change) throws(KilnError) in try change.plan(planner) }
    loss = graphs.loss
    norm = graphs.norm
    sum = accumulation?.sum
    let known = Set(graphs.weights.flatMap { optimizer.states(of: $0) })
    memories = (gradient.parameters + (change?.plan.parameters ?? [])).filter {
      $0.role == .state && !known.contains($0)
    }
  }

  var plans: [Plan] {
    [gradient]
      + [update, clear, squares, choice?.extrapolated.plan, choice?.iterate.plan, change?.plan].compactMap { $0 }
  }
}
