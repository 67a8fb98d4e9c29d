import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

/// One step of training as planned graphs: forward, backward and update in one, or, with micro-batches, the gradients of
/// a part of the batch, accumulated, and then the updates.
final class TrainingStep {
  struct Shape {
    var batch: Int
    var microBatch: Int
    var time: Int
    var dropout: Float
    /// Global norm to clip to; nil leaves gradients alone.
    var clip: Double?
    var precision = Precision.fp32
    /// Whether matrices are kept in fp32, or in `precision`.
    var hasMasters = true
  }

  struct Result {
    var loss: Double
    /// Nil where the loss was scaled and the gradients were not finite: no weight or state has changed.
    var gradNorm: Double?
    /// The squared norm of the first micro-batch's gradient by itself; nil where it is the whole batch.
    var firstSquaredNorm: Double?
  }

  /// When weights are updated: each as soon as its gradient is complete, or all after one look at every gradient.
  enum UpdateMode: String { case immediate, deferred }

  let mode: UpdateMode
  let plans: [Plan]
  /// What operations remember from step to step, other than weights and the optimizer's states.
  let memories: [Parameter]
  private let shape: Shape
  private let gradientSession: Session
  /// Applies accumulated gradients; nil where the gradient session does so itself.
  private let updateSession: Session?
  private let clearSession: Session?
  /// The squared norm of what has been accumulated so far.
  private let squaresSession: Session?
  private let choice: MonotoneChoice?
  private let loss: Value
  private let norm: Value
  private let squares: Value?

  init(
    _ model: any LanguageModel, _ optimizer: any Optimizer, shape: Shape, context: Context, store: ParameterStore
  ) throws(KilnError) {
    self.shape = shape
    let accumulates = shape.microBatch < shape.batch
    mode = accumulates || shape.clip != nil || shape.precision.scalesLoss ? .deferred : .immediate

    let monotone = (optimizer as? ProximalGradient).flatMap { $0.form == .accelerated(isMonotone: true) ? $0 : nil }
    choice = try monotone.map { (optimizer) throws(KilnError) in
      try MonotoneChoice(model, optimizer, shape: shape, context: context, store: store)
    }
    let graph = Graph(precision: shape.precision, hasMasters: shape.hasMasters)
    let weights = shape.hasMasters ? model.parameters : model.parameters.map(shape.precision.operand)
    loss = try model.loss(in: graph, batch: shape.microBatch, time: shape.time, mode: .training(dropout: shape.dropout))
    try graph.record(FiniteCheck(of: "the loss"), [loss])
    let planner = Planner(context: context)
    if accumulates {
      let buffers = Dictionary(uniqueKeysWithValues: weights.map { ($0, Self.buffer(of: $0)) })
      let sums = try graph.gradients(of: [(loss, graph.unit)], for: weights, into: buffers)
      let update = Graph()
      let gradients = weights.map { ($0, update[Self.buffer(of: $0)]) }
      norm = try Self.recordUpdates(gradients, optimizer, shape, mode)
      let clear = Graph()
      for parameter in weights { try clear.record(Clear(), [clear[Self.buffer(of: parameter)]]) }
      let look = Graph()
      let squares = try Self.recordSquares(weights.map { ($0, look[Self.buffer(of: $0)]) }, in: look, mayOverflow: true)
      self.squares = squares.sum
      let planned = [
        try planner.plan(graph, outputs: [loss] + sums.values.sorted { $0.id < $1.id }),
        try planner.plan(update, outputs: [norm]),
        try planner.plan(clear, outputs: []),
        try planner.plan(look, outputs: [squares.sum]),
      ]
      updateSession = try Session(planned[1], context: context, store: store)
      clearSession = try Session(planned[2], context: context, store: store)
      squaresSession = try Session(planned[3], context: context, store: store)
      plans = planned + (choice?.plans ?? [])
    } else {
      let gradients = try graph.gradients(of: [(loss, graph.unit)], for: weights)
      let byCompletion = gradients.sorted { $0.value.id < $1.value.id }.map { ($0.key, $0.value) }
      norm = try Self.recordUpdates(byCompletion, optimizer, shape, mode)
      plans = [try planner.plan(graph, outputs: [loss, norm])] + (choice?.plans ?? [])
      updateSession = nil
      clearSession = nil
      squaresSession = nil
      squares = nil
    }
    let known = Set(weights.flatMap { optimizer.states(of: $0) })
    memories = plans[0].parameters.filter { $0.role == .state && !known.contains($0) }
    gradientSession = try Session(plans[0], context: context, store: store)
    gradientSession.input("positions")?.copy(from: (0..<Int32(shape.time)).map { $0 })
    for session in [gradientSession, updateSession, squaresSession] { session?.input("zero")?.scalar = 0 }
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
    _ gradients: [(Parameter, Value)], _ optimizer: any Optimizer, _ shape: Shape, _ mode: UpdateMode
  ) throws(KilnError) -> Value {
    guard let graph = gradients.first?.1.graph else { throw KilnError(.argument, "nothing is trained") }
    let lr = graph.input("lr", .scalar(.float64))
    let (sum, gates) = try recordSquares(gradients, in: graph, mayOverflow: shape.precision.scalesLoss)
    let unscale = shape.precision.scalesLoss ? [graph.input("unscale", .scalar(.float64))] : []
    let clipped = try graph.record(ClipScale(limit: shape.clip), [sum] + unscale)
    for ((parameter, gradient), gate) in zip(gradients, gates) {
      try optimizer.record(parameter, gradient: gradient, lr: lr, scale: mode == .deferred ? clipped[1] : gate)
    }
    return clipped[0]
  }

  /// Trains on a batch.
  /// - Parameter lossScale: what loss and gradients are multiplied by on the way; other than 1 only where the precision
  ///   scales the loss.
  func run(_ batch: Batch, step: Int, seed: UInt64, lr: Double, lossScale: Double) throws(KilnError) -> Result {
    let updates = updateSession ?? gradientSession
    updates.input("lr")?.scalar = lr
    updates.input("unscale")?.scalar = 1 / lossScale
    try clearSession?.run()
    var total = 0.0
    var firstSquaredNorm: Double?
    try gradientSession.forEachMicroBatch(of: batch, shape, lossScale: lossScale) { () throws(KilnError) in
      try gradientSession.run(step: step, seed: seed)
      total += gradientSession.tensor(of: loss).scalar
      if firstSquaredNorm == nil { firstSquaredNorm = try squaredNorm(lossScale) }
    }
    try updateSession?.run(step: step, seed: seed)
    let gradNorm = updates.tensor(of: norm).scalar
    if gradNorm.isFinite { try choice?.run(batch, shape) }
    return Result(
      loss: total / lossScale, gradNorm: gradNorm.isFinite ? gradNorm : nil, firstSquaredNorm: firstSquaredNorm)
  }

  /// Of the gradient of a micro-batch that is alone in the buffers, where it is a part of the batch's mean.
  private func squaredNorm(_ lossScale: Double) throws(KilnError) -> Double? {
    guard let squaresSession, let squares else { return nil }
    try squaresSession.run()
    let share = Double(shape.microBatch) / Double(shape.batch) * lossScale
    return squaresSession.tensor(of: squares).scalar / (share * share)
  }

  /// Runs the same step again with a look at every result; the error names the first that is not finite.
  func findFault(_ batch: Batch, step: Int, seed: UInt64, lossScale: Double) throws(KilnError) {
    try clearSession?.run()
    try gradientSession.forEachMicroBatch(of: batch, shape, lossScale: lossScale) { () throws(KilnError) in
      try gradientSession.run(step: step, seed: seed, checking: true)
    }
    try updateSession?.run(step: step, seed: seed, checking: true)
  }
}

extension Session {
  /// Gives a loss, the mean over the batch times a factor, each part of the batch in turn.
  func forEachMicroBatch(
    of batch: Batch, _ shape: TrainingStep.Shape, lossScale: Double = 1, _ body: () throws(KilnError) -> Void
  ) throws(KilnError) {
    let size = shape.microBatch * shape.time
    input("loss_scale")?.scalar = lossScale / Double(max(batch.targetCount, 1))
    for start in stride(from: 0, to: shape.batch * shape.time, by: size) {
      input("tokens")?.copy(from: Array(batch.inputs[start..<start + size]))
      input("targets")?.copy(from: Array(batch.targets[start..<start + size]))
      try body()
    }
  }
}
