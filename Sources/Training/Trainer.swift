import Foundation
import KilnCheckpoints
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

/// Trains a language model from text to a finished directory: the main job of Kiln.
///
/// ```swift
/// var configuration = TrainingConfiguration()
/// configuration.data = ["book.txt"]
/// configuration.steps = 200
/// let trainer = try Trainer(configuration, out: URL(fileURLWithPath: "run"))
/// try trainer.run { event in
///   if case .step(let metrics) = event { print(metrics.step, metrics.loss) }
/// }
/// ```
public final class Trainer {
  /// What happens during a run, for whoever watches.
  public enum Event: Sendable {
    case step(StepMetrics)
    case evaluated(step: Int, Evaluation)
    case saved(step: Int, URL)
    case notice(String)
  }

  public enum Outcome: Sendable, Equatable {
    case finished, interrupted, outOfTime
    /// It was asked whether that is enough, and it is.
    case enough
  }

  /// Choices of a run that change neither its results nor its checkpoints.
  public struct Options: Sendable {
    public var threads: Int?
    public var device: Context.Device
    /// Where metrics are written; nil is `metrics.jsonl` in the output directory.
    public var metrics: URL?

    public init(threads: Int? = nil, device: Context.Device = .cpu, metrics: URL? = nil) {
      self.threads = threads
      self.device = device
      self.metrics = metrics
    }
  }

  /// With all that was chosen to keep a budget.
  public let configuration: TrainingConfiguration
  public let out: URL
  /// The step before which the run ends; nil where nothing but time ends it.
  public let steps: Int?
  public let schedule: Schedule
  public let parameterCount: Int
  /// The first step that this run takes.
  public let firstStep: Int
  public let plan: TrainingPlan
  public let context: Context
  /// Whose kernels reach the store: the host's where updates are made there.
  public let storeContext: Context

  private let inputs: Inputs
  private let metricsURL: URL
  private let point: ResumePoint?
  private let source: BatchSource
  /// Nil after the run, whose memory is then free for what comes.
  private var step: TrainingStep?
  private var evaluator: Evaluator?
  private let runState: RunState
  private let numericPlan: NumericPlan
  /// Nil where the precision needs no scaling of the loss.
  private var scaler: LossScaler?
  /// Nil where each batch is computed at once.
  private var noise: GradientNoiseScale?
  private let notices: [String]

  /// Prepares a run, so far that the first step can be taken; nothing is written yet.
  /// - Parameter point: where to go on; `configuration` may then differ in what does not change the steps.
  public init(
    _ configuration: TrainingConfiguration, out: URL, resuming point: ResumePoint? = nil, options: Options = Options()
  ) throws(KilnError) {
    try configuration.validate()
    if let sparsity = configuration.sparsity, sparsity.isTicket {
      throw KilnError(.argument, "--sparsity \(sparsity.rawValue) takes several runs, not one: see TicketSearch")
    }
    if let point {
      try configuration.checkResumable(from: point.configuration)
    } else {
      try RunState.checkIsNew(out)
    }
    self.out = out
    self.point = point
    metricsURL = options.metrics ?? out.appendingPathComponent("metrics.jsonl")
    let context = try Context(device: options.device, threads: options.threads)
    self.context = context
    let inputs = try Inputs(configuration, resuming: point, kernels: context)
    self.inputs = inputs

    source = try inputs.source(configuration)
    steps = configuration.steps(sequences: source.sequenceCount)
    schedule = try configuration.rates(steps: steps)

    plan = try TrainingPlanner(budget: configuration.memory).plan(
      configuration, inputs, resuming: point, context: context)
    let configuration = plan.configuration
    self.configuration = configuration

    let optimizer = plan.optimizer
    let host = optimizer as? HostUpdates
    let kept = plan.step.shape.hasMasters || host != nil ? .fp32 : configuration.precision
    let arena = try Storage(byteCount: plan.arenaBytes, on: context)
    let device = ParameterStore(on: context, limit: configuration.deviceMemory.map { $0 - arena.byteCount })
    let store = host?.store ?? device
    storeContext = host != nil && context.hasOwnMemory ? try Context(threads: options.threads) : context
    try inputs.fill(store, seed: configuration.seed, precision: kept, context: storeContext)
    scaler = configuration.precision.scalesLoss ? try RunState.lossScaler(resuming: point) : nil
    noise = plan.microBatch < configuration.batch ? try RunState.noiseScale(resuming: point) : nil
    numericPlan = NumericPlan(
      device: "\(context.device)", isa: context.isa, gemm: context.tile.map { "tiles of \($0)" } ?? context.gemm,
      microBatch: plan.microBatch,
      activationBits: plan.activationBits)
    try (optimizer as? OffloadedStates)?.open(on: context)
    try plan.activations?.open()
    runState = RunState(
      out: out, model: inputs.model, precision: kept, narrow: configuration.precision, optimizer: optimizer,
      store: store, device: device, tokenizer: inputs.tokenizer, memories: plan.step.memories, scratch: arena)
    let step = point?.folder == nil ? configuration.startStep ?? 0 : point?.state.step ?? 0
    firstStep = step
    if point?.folder == nil { try inputs.fillWhole(device, seed: configuration.seed, context: context) }
    if let folder = point?.folder { try runState.restoreStates(from: folder, step: step, context: context) }
    try host?.open(
      threads: context.threads, device: device,
      isPending: point?.folder != nil && host?.isDelayed(afterStep: step - 1) == true)
    self.step = try TrainingStep(plan.step, inputs.model, optimizer, context: context, store: device, arena: arena)
    evaluator = try plan.evaluation.map { [microBatch = plan.microBatch] (plan) throws(KilnError) in
      try Evaluator(
        plan, batch: microBatch, time: inputs.context, context: context, store: device, arena: arena)
    }
    parameterCount = inputs.model.parameters.reduce(0) { $0 + $1.shape.count }
    notices = (point?.warnings ?? []) + inputs.notices + Self.notices(about: numericPlan, point) + plan.notices
  }

  private static func notices(about plan: NumericPlan, _ point: ResumePoint?) -> [String] {
    guard let old = point?.numericPlan, old != plan else { return [] }
    return [
      "the run was started on \(old.machine) and goes on on \(plan.machine): the last bits may differ"
    ]
  }

  public var model: any LanguageModel { inputs.model }
  public var tokenizer: any Tokenizer { inputs.tokenizer }
  public var store: ParameterStore { runState.store }
  /// What the store keeps matrices in.
  public var keptPrecision: Precision { runState.precision }
  public var corpus: Corpus { inputs.corpus }
  public var evalCorpus: Corpus? { inputs.evalCorpus }
  /// Tokens of a training sequence.
  public var sequenceLength: Int { inputs.context }

  /// Trains to the end, or until it is told to stop after a step; then everything is saved.
  /// - Parameters:
  ///   - shouldStop: asked whenever it can stop, in evaluations too.
  ///   - isOver: asked once after each step, with the number of steps that are done: whether that is enough.
  @discardableResult
  public func run(
    shouldStop: () -> Bool = { false }, isOver: (Int) throws(KilnError) -> Bool = { _ in false },
    onEvent: (Event) -> Void = { _ in }
  ) throws(KilnError) -> Outcome {
    for notice in notices { onEvent(.notice(notice)) }
    if point == nil { try RunState.begin(out, configuration) }
    let file = try MetricsFile(appendingTo: metricsURL, resumeAt: firstStep)
    var clock = RunClock(seconds: try Self.secondsSoFar(metricsURL), limit: configuration.maxTime)
    var tokens = point?.state.tokensSeen ?? 0
    for index in firstStep..<max(steps ?? .max, firstStep) {
      var (metrics, isChange) = try trainOnce(index, &tokens, &clock)
      if !isChange, let text = try adaptScale(after: metrics) { onEvent(.notice(text)) }
      let done = index + 1
      let isLast = done == steps || clock.isOver
      if let evaluation = try evaluateIfDue(after: index, isLast: isLast, shouldStop: shouldStop) {
        metrics.evalLoss = evaluation.loss
        metrics.evalBitsPerByte = evaluation.bitsPerByte
        onEvent(.evaluated(step: index, evaluation))
      }
      try file.append(metrics)
      onEvent(.step(metrics))
      let ending: Outcome? =
        try done == steps
        ? .finished : isOver(done) ? .enough : shouldStop() ? .interrupted : isLast ? .outOfTime : nil
      if ending != nil || done % (configuration.saveEvery ?? TrainingConfiguration.defaultSaveEvery) == 0 {
        onEvent(.saved(step: done, try save(step: done, tokens: tokens)))
      }
      if let ending, ending == .interrupted || ending == .enough { return ending }
      if ending == .outOfTime {
        try finish()
        return .outOfTime
      }
    }
    try finish()
    return .finished
  }

  /// Also tells whether the patterns of sparse weights have changed in place of an update.
  private func trainOnce(
    _ index: Int, _ tokens: inout Int, _ clock: inout RunClock
  ) throws(KilnError) -> (metrics: StepMetrics, isChange: Bool) {
    let batch = source.batch(step: index)
    let rate = rate(at: index, clock)
    let result: TrainingStep.Result
    do throws(KilnError) {
      result = try clock.measure { () throws(KilnError) in
        guard let step else { throw KilnError(.argument, "the run is over") }
        return try step.run(batch, step: index, seed: configuration.seed, lr: rate, lossScale: scaler?.scale ?? 1)
      }
    } catch {
      guard error.kind != .numerics else { throw explain(error, batch, index) }
      guard context.hasOwnMemory, error.hint == nil else { throw error }
      // A device may be lost at any moment.
      throw KilnError(
        error.kind, error.message, hint: "go on from the last checkpoint with --resume, on --device cpu if need be")
    }
    tokens += batch.targetCount
    let metrics = StepMetrics(
      step: index, loss: result.loss, gradNorm: result.gradNorm, lr: rate, tokens: tokens, seconds: clock.seconds,
      tokensPerSecond: Double(batch.targetCount) / clock.last, peakBytes: ProcessMemory.peakResident,
      lossScale: scaler?.scale, noiseScale: noiseScale(after: result))
    return (metrics, result.isChange)
  }

  /// The gradient noise scale so far, with this step in it.
  private func noiseScale(after result: TrainingStep.Result) -> Double? {
    if let norm = result.gradNorm, let squaredNorm = result.firstSquaredNorm {
      noise?.update(
        .init(batch: numericPlan.microBatch, squaredNorm: squaredNorm),
        .init(batch: configuration.batch, squaredNorm: norm * norm))
    }
    return noise?.sequences
  }

  /// The loss scale of the next step; a text if this one was skipped.
  private func adaptScale(after metrics: StepMetrics) throws(KilnError) -> String? {
    guard var next = scaler else { return nil }
    next.update(isFinite: metrics.gradNorm != nil)
    if next.hasCollapsed {
      throw explain(
        KilnError(.numerics, "gradients overflow at any loss scale"), source.batch(step: metrics.step), metrics.step)
    }
    defer { scaler = next }
    guard metrics.gradNorm == nil else { return nil }
    return
      "step \(metrics.step) skipped: its gradients overflow fp16 with the loss times 2^\(next.scale.exponent + 1); "
      + "\(next.skippedSteps) skipped so far"
  }

  /// The learning rate of a step. A run that time ends goes by the steps that it will have taken at this pace.
  private func rate(at index: Int, _ clock: RunClock) -> Double {
    guard steps == nil, index > firstStep, let share = clock.share, share > 0 else { return schedule.rate(at: index) }
    var schedule = schedule
    schedule.steps = firstStep + Int((Double(index - firstStep) / share).rounded(.up))
    return schedule.rate(at: index)
  }

  /// Runs a step that went wrong again, to say where.
  private func explain(_ error: KilnError, _ batch: Batch, _ index: Int) -> KilnError {
    var found = error
    do throws(KilnError) {
      try step?.findFault(batch, step: index, seed: configuration.seed, lossScale: scaler?.scale ?? 1)
    } catch { found = error }
    return KilnError(
      .numerics, "step \(index): \(found.message)",
      hint: scaler == nil
        ? "nothing of this step was saved; lower --lr, or set --grad-clip, and go on from the last checkpoint"
        : "fp16 holds no number above 65504, and no loss scale helps: lower --lr, or start anew with --precision bf16")
  }

  /// Evaluates every so many steps and after the last one.
  private func evaluateIfDue(
    after index: Int, isLast: Bool, shouldStop: () -> Bool
  ) throws(KilnError) -> Evaluation? {
    guard let evaluator, let corpus = inputs.evalCorpus else { return nil }
    let every = configuration.evalEvery ?? steps.map { max(1, $0 / 10) } ?? 100
    guard (index + 1) % every == 0 || isLast else { return nil }
    do throws(KilnError) {
      return try evaluator.evaluate(corpus, shouldStop: shouldStop)
    } catch {
      // An interruption during an evaluation ends the run after this step, as any other does.
      if error.kind == .interrupted { return nil }
      throw error
    }
  }

  private func save(step: Int, tokens: Int) throws(KilnError) -> URL {
    let state = TrainingState(
      step: step, tokensSeen: tokens, configuration: json(of: configuration.withAbsolutePaths),
      numericPlan: json(of: numericPlan), methodState: RunState.methodState(scaler, noise))
    return try runState.save(state, keep: configuration.keep, context: context)
  }

  /// The finished model stands at the output directory itself, where other tools look.
  private func finish() throws(KilnError) {
    step = nil
    evaluator = nil
    try (plan.optimizer as? HostUpdates)?.settle()
    for parameter in store.parameters where parameter.role == .gradient { store.remove(parameter) }
    try runState.saveModel(to: out, context: context)
  }

  private static func secondsSoFar(_ metrics: URL) throws(KilnError) -> Double {
    FileManager.default.fileExists(atPath: metrics.path) ? try MetricsFile.read(metrics).last?.seconds ?? 0 : 0
  }
}

/// Seconds spent in training steps.
private struct RunClock {
  private(set) var seconds: Double
  private(set) var last = 0.0
  private let limit: Double?
  private let began = ContinuousClock.now

  init(seconds: Double, limit: Double?) {
    self.seconds = seconds
    self.limit = limit
  }

  /// The share that is used up of the time that this process may take; nil without a limit.
  var share: Double? { limit.map { (ContinuousClock.now - began) / .seconds(1) / $0 } }
  var isOver: Bool { share.map { $0 >= 1 } ?? false }

  mutating func measure<R>(_ body: () throws(KilnError) -> R) throws(KilnError) -> R {
    let start = ContinuousClock.now
    let result = try body()
    last = (ContinuousClock.now - start) / .seconds(1)
    seconds += last
    return result
  }
}
