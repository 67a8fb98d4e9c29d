import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

/// Says what a run will take of memory and time, and makes it fit a budget.
///
/// ```swift
/// let plan = try TrainingPlanner(budget: 2 << 30).plan(configuration)
/// print(plan.memory.total, plan.seconds)
/// ```
public struct TrainingPlanner {
  /// Bytes that the process may take; nil for what is fastest.
  public var budget: Int?
  /// Of this machine; nil takes those that `kiln doctor --measure` has left, if it has.
  public var rates: Rates?
  /// Bytes that the process takes before any tensor; nil for what it takes now.
  var resident: Int?

  public init(budget: Int? = nil, rates: Rates? = nil) {
    self.budget = budget
    self.rates = rates
  }

  /// The plan of the run that a configuration describes; nothing is trained.
  public func plan(
    _ configuration: TrainingConfiguration, resuming point: ResumePoint? = nil,
    options: Trainer.Options = Trainer.Options()
  ) throws(KilnError) -> TrainingPlan {
    try configuration.validate()
    let inputs = try Inputs(configuration, resuming: point)
    let context = try Context(device: options.device, threads: options.threads)
    return try plan(configuration, inputs, resuming: point, context: context)
  }

  func plan(
    _ configuration: TrainingConfiguration, _ inputs: Inputs, resuming point: ResumePoint?, context: Context
  ) throws(KilnError) -> TrainingPlan {
    let rates = rates ?? MachineRates.cached(for: context) ?? .nominal
    var recorder = PlanRecorder(inputs: inputs, planner: Planner(context: context), resident: 0)
    let plain = try recorder.record(configuration, rates).plan()
    // The process as it is with a plan in it. What searching leaves behind shows afterwards: then it is counted in, and
    // searched again.
    recorder.resident = resident ?? ProcessMemory.resident
    guard let budget else { return plain.onTop(of: recorder.resident) }
    while true {
      let (found, least) = try search(configuration, recorder, rates, within: budget, isFixed: point != nil)
      let now = resident ?? ProcessMemory.resident
      guard let found else { throw Self.tooSmall(budget, least, configuration) }
      let plan = found.onTop(of: now)
      if plan.memory.total <= budget { return plan.compared(with: plain.onTop(of: now)) }
      recorder.resident = max(now, recorder.resident + 1 << 20)
    }
  }

  /// The plan of the first group of variants in which one fits; else nil and the smallest of all.
  private func search(
    _ configuration: TrainingConfiguration, _ recorder: PlanRecorder, _ rates: Rates, within budget: Int, isFixed: Bool
  ) throws(KilnError) -> (found: TrainingPlan?, least: TrainingPlan?) {
    var least: TrainingPlan?
    for variants in configuration.variants(isFixed: isFixed) {
      // The micro-batch and what is lossy change the bits, so they must not depend on how fast this machine is.
      var chosen: TrainingPlan?
      for variant in variants {
        let (fitting, smallest) = try fit(try recorder.record(variant, .nominal), within: budget)
        if smallest.memory.total < least?.memory.total ?? .max { least = smallest }
        if let fitting, fitting.seconds < chosen?.seconds ?? .infinity { chosen = fitting }
      }
      guard let chosen else { continue }
      return (try fit(try recorder.record(chosen.configuration, rates), within: budget).fitting ?? chosen, least)
    }
    return (nil, least)
  }

  /// The fastest plan within the budget, nil where there is none, and the smallest.
  private func fit(
    _ recorded: RecordedStep, within budget: Int
  ) throws(KilnError) -> (fitting: TrainingPlan?, smallest: TrainingPlan) {
    let plain = try recorded.plan()
    guard plain.memory.total > budget else { return (plain, plain) }
    let schedules = recorded.schedules()
    // From the fastest to the smallest: the first that fits, by bisection.
    var smallest = plain
    var fitting: TrainingPlan?
    var (low, high) = (0, schedules.count)
    while low < high {
      let middle = (low + high) / 2
      let plan = try recorded.plan(recomputing: schedules[middle])
      if plan.memory.total < smallest.memory.total { smallest = plan }
      if plan.memory.total <= budget {
        fitting = plan
        high = middle
      } else {
        low = middle + 1
      }
    }
    return (fitting, smallest)
  }

  private static func tooSmall(
    _ budget: Int, _ least: TrainingPlan?, _ configuration: TrainingConfiguration
  ) -> KilnError {
    guard let least else { return KilnError(.argument, "nothing is trained") }
    let needed = (least.memory.total + (1 << 20) - 1) >> 20
    let more = [
      configuration.gradClip > 0 ? "--grad-clip 0 (gradients are used up at once)" : nil,
      configuration.disk == nil && configuration.offload == nil ? "--disk DIR (the optimizer's state there)" : nil,
      configuration.allow == nil ? "--allow lossy (states and activations in fewer bits)" : nil,
    ].compactMap { $0 }
    return KilnError(
      .memory, "--memory \(formatBytes(budget)) is too small: the run takes at least \(needed) MiB",
      hint: "use --memory \(needed)MiB" + (more.isEmpty ? "" : ", or with less: " + more.joined(separator: ", ")))
  }
}

/// Records steps of one run in the ways that are weighed.
struct PlanRecorder {
  let inputs: Inputs
  let planner: Planner
  /// Bytes that the process takes before any tensor.
  var resident: Int

  func record(_ configuration: TrainingConfiguration, _ rates: Rates) throws(KilnError) -> RecordedStep {
    var optimizer = try configuration.makeOptimizer()
    let shape = TrainingStep.Shape(
      batch: configuration.batch, microBatch: configuration.microBatch ?? configuration.batch, time: inputs.context,
      dropout: Float(configuration.dropout), clip: configuration.gradClip > 0 ? configuration.gradClip : nil,
      precision: configuration.precision, hasMasters: configuration.master == .fp32)
    if configuration.offload == .states {
      let weights = inputs.model.parameters.map(shape.hasMasters ? { $0 } : shape.precision.operand)
      optimizer = try OffloadedStates(optimizer, of: weights, in: configuration.diskFolder)
    }
    let evaluation: LossPlan? =
      if inputs.evalCorpus == nil {
        nil
      } else {
        try LossPlan(
          inputs.model, batch: shape.microBatch, time: shape.time, precision: shape.precision,
          hasMasters: shape.hasMasters, optimizer: optimizer, planner: planner)
      }
    return RecordedStep(
      configuration: configuration, model: inputs.model, optimizer: optimizer,
      graphs: try StepGraphs(inputs.model, optimizer, shape), evaluation: evaluation, planner: planner, rates: rates,
      data: inputs.corpus.tokenBytes + (inputs.evalCorpus?.tokenBytes ?? 0), resident: resident)
  }
}

/// A step that is to be planned in several ways.
struct RecordedStep {
  let configuration: TrainingConfiguration
  let model: any LanguageModel
  let optimizer: any Optimizer
  let graphs: StepGraphs
  let evaluation: LossPlan?
  let planner: Planner
  let rates: Rates
  let data: Int
  let resident: Int

  /// The optimal schedules of recomputation, from the fastest to the smallest.
  func schedules() -> RecomputeSchedules {
    let part = graphs.gradient
    return RecomputeSchedules(for: part.graph, outputs: part.outputs) { rates.seconds($0) }
  }

  /// - Parameter recompute: in place of what the configuration says.
  func plan(recomputing recompute: Recompute? = nil) throws(KilnError) -> TrainingPlan {
    var graphs = graphs
    if let rewrite = recompute ?? configuration.recompute?.rewrite(of: graphs.gradient.graph) {
      graphs = graphs.rewritten(by: rewrite)
    }
    if let bits = configuration.compressActivations { graphs = graphs.compressingActivations(to: bits) }
    let step = try StepPlan(graphs, model, optimizer, planner: planner)
    let forecast = MemoryForecast(
      step.plans + [evaluation?.plan].compactMap { $0 }, data: data, resident: resident,
      staging: (optimizer as? OffloadedStates)?.stagingBytes ?? 0)
    return TrainingPlan(
      configuration: configuration, step: step, evaluation: evaluation, optimizer: optimizer, memory: forecast,
      recomputes: recompute != nil, rates: rates)
  }
}

extension TrainingConfiguration {
  /// Ways to run it, those that change the numbers least first; of one group the fastest that fits is taken. All but the
  /// first group are tried only if nothing before them fits.
  /// - Parameter isFixed: only in the way in which the run has begun.
  func variants(isFixed: Bool) -> [[TrainingConfiguration]] {
    guard !isFixed else { return [[self]] }
    var ways = [self]
    if disk != nil, offload == nil {
      var way = self
      way.offload = .states
      if (try? way.validate()) != nil { ways.append(way) }
    }
    if allow == .lossy { ways += lossyWays }
    return ways.map { way in
      guard way.microBatch == nil else { return [way] }
      return (1...batch).reversed().filter { batch % $0 == 0 }.map { size in
        var variant = way
        variant.microBatch = size
        return variant
      }
    }
  }

  /// Each with what those before it have, as far as the configuration leaves it open and the optimizer has it.
  private var lossyWays: [TrainingConfiguration] {
    var way = self
    var ways: [TrainingConfiguration] = []
    func tryIt(_ change: (inout TrainingConfiguration) -> Void) {
      var changed = way
      change(&changed)
      guard changed != way, (try? changed.validate()) != nil else { return }
      way = changed
      ways.append(way)
    }
    if optimizerState == .fp32 { tryIt { $0.optimizerState = .eightBit } }
    if optimizerState == .fp32, way.optimizerState == .fp32 { tryIt { $0.optimizerState = .stochastic } }
    if compressActivations == nil {
      for bits in [8, 4] { tryIt { $0.compressActivations = bits } }
    }
    if master == .fp32 { tryIt { $0.master = .none } }
    return ways
  }
}
