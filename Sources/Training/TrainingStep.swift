import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

/// One step of training, ready to run.
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
    /// Whether patterns of sparse weights have changed in place of an update.
    var isChange = false
  }

  /// When weights are updated: each as soon as its gradient is complete, or all after one look at every gradient.
  enum UpdateMode: String { case immediate, deferred }

  private let shape: Shape
  private let gradientSession: Session
  /// Applies accumulated gradients; nil where the gradient session does so itself.
  private let updateSession: Session?
  private let clearSession: Session?
  /// The squared norm of what has been accumulated so far.
  private let squaresSession: Session?
  private let choice: MonotoneChoice?
  private let change: (planned: PatternChange.Planned, session: Session)?
  private let loss: Value
  private let norm: Value
  private let sum: Value?
  /// Of forward and backward.
  var arenaBytes: Int { gradientSession.plan.arenaBytes }

  /// - Parameter arena: at least as large as each of the plans asks.
  init(
    _ plan: StepPlan, _ model: any LanguageModel, _ optimizer: any Optimizer, context: Context, store: ParameterStore,
    arena: Storage
  ) throws(KilnError) {
    func session(_ plan: Plan) throws(KilnError) -> Session {
      try Session(plan, context: context, store: store, arena: arena)
    }
    shape = plan.shape
    gradientSession = try session(plan.gradient)
    updateSession = try plan.update.map(session)
    clearSession = try plan.clear.map(session)
    squaresSession = try plan.squares.map(session)
    choice = try MonotoneChoice(plan.choice, model, optimizer, context: context, store: store, arena: arena)
    change = try plan.change.map { (planned) throws(KilnError) in (planned, try session(planned.plan)) }
    loss = plan.loss
    norm = plan.norm
    sum = plan.sum
  }

  /// Trains on a batch.
  /// - Parameter lossScale: what loss and gradients are multiplied by on the way; other than 1 only where the precision
  ///   scales the loss.
  func run(_ batch: Batch, step: Int, seed: UInt64, lr: Double, lossScale: Double) throws(KilnError) -> Result {
    if let loss = try changePatterns(batch, step: step, seed: seed, lossScale: lossScale) {
      return Result(loss: loss, gradNorm: nil, firstSquaredNorm: nil, isChange: true)
    }
    try clearSession?.run()
    var total = 0.0
    var firstSquaredNorm: Double?
    try gradientSession.forEachMicroBatch(of: batch, shape, lossScale: lossScale) { () throws(KilnError) in
      gradientSession.set(lr: lr, lossScale: lossScale)
      try gradientSession.run(step: step, seed: seed)
      total += gradientSession.tensor(of: loss).scalar
      if firstSquaredNorm == nil { firstSquaredNorm = try squaredNorm(lossScale) }
    }
    updateSession?.set(lr: lr, lossScale: lossScale)
    try updateSession?.run(step: step, seed: seed)
    let gradNorm = (updateSession ?? gradientSession).tensor(of: norm).scalar
    if gradNorm.isFinite { try choice?.run(batch, shape) }
    try changePatterns(step: step, seed: seed)
    return Result(
      loss: total / lossScale, gradNorm: gradNorm.isFinite ? gradNorm : nil, firstSquaredNorm: firstSquaredNorm)
  }

  /// Where patterns change by gradients, those of the first micro-batch: returns its loss; nil where this step updates.
  private func changePatterns(
    _ batch: Batch, step: Int, seed: UInt64, lossScale: Double
  ) throws(KilnError) -> Double? {
    guard let (planned, session) = change, let loss = planned.loss, planned.change.isDue(at: step) else { return nil }
    let trained = batch.targets.prefix(shape.microBatch * shape.time).count { $0 >= 0 }
    session.setMicroBatch(of: batch, from: 0, shape, lossScale: lossScale / Double(max(trained, 1)))
    try session.run(step: step, seed: seed)
    return session.tensor(of: loss).scalar / lossScale
  }

  /// Where they change at random, after an update.
  private func changePatterns(step: Int, seed: UInt64) throws(KilnError) {
    guard let (planned, session) = change, planned.loss == nil, planned.change.isDue(at: step) else { return }
    try session.run(step: step, seed: seed)
  }

  /// Of the gradient of a micro-batch that is alone in the buffers, where it is a part of the batch's mean.
  private func squaredNorm(_ lossScale: Double) throws(KilnError) -> Double? {
    guard let squaresSession, let sum else { return nil }
    squaresSession.input("zero")?.scalar = 0
    try squaresSession.run()
    let share = Double(shape.microBatch) / Double(shape.batch) * lossScale
    return squaresSession.tensor(of: sum).scalar / (share * share)
  }

  /// Runs the same step again with a look at every result; the error names the first that is not finite.
  func findFault(_ batch: Batch, step: Int, seed: UInt64, lossScale: Double) throws(KilnError) {
    try clearSession?.run()
    try gradientSession.forEachMicroBatch(of: batch, shape, lossScale: lossScale) { () throws(KilnError) in
      gradientSession.set(lr: 0, lossScale: lossScale)
      try gradientSession.run(step: step, seed: seed, checking: true)
    }
    updateSession?.set(lr: 0, lossScale: lossScale)
    try updateSession?.run(step: step, seed: seed, checking: true)
  }
}

extension Session {
  /// Gives a loss, the mean over the batch times a factor, each part of the batch in turn.
  func forEachMicroBatch(
    of batch: Batch, _ shape: TrainingStep.Shape, lossScale: Double = 1, _ body: () throws(KilnError) -> Void
  ) throws(KilnError) {
    for start in stride(from: 0, to: shape.batch * shape.time, by: shape.microBatch * shape.time) {
      setMicroBatch(of: batch, from: start, shape, lossScale: lossScale / Double(max(batch.targetCount, 1)))
      input("penalty_scale")?.scalar = lossScale * Double(shape.microBatch) / Double(shape.batch)
      try body()
    }
  }

  /// The inputs of a loss of the part of a batch that begins with a token.
  fileprivate func setMicroBatch(of batch: Batch, from start: Int, _ shape: TrainingStep.Shape, lossScale: Double) {
    let part = start..<start + shape.microBatch * shape.time
    set(
      tokens: Array(batch.inputs[part]), targets: Array(batch.targets[part]), time: shape.time, lossScale: lossScale)
  }

  /// The inputs of a loss.
  func set(tokens: [Int32], targets: [Int32], time: Int, lossScale: Double) {
    input("tokens")?.copy(from: tokens)
    input("targets")?.copy(from: targets)
    input("positions")?.copy(from: (0..<Int32(time)).map { $0 })
    input("loss_scale")?.scalar = lossScale
  }

  /// The inputs of updates.
  func set(lr: Double, lossScale: Double) {
    input("lr")?.scalar = lr
    input("unscale")?.scalar = 1 / lossScale
    input("zero")?.scalar = 0
  }
}
