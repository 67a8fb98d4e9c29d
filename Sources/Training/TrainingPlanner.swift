import Foundation
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
    let context = try Context(device: options.device, threads: options.threads)
    let inputs = try Inputs(configuration, resuming: point, kernels: context)
    return try plan(configuration, inputs, resuming: point, context: context)
  }

  func plan(
    _ configuration: TrainingConfiguration, _ inputs: Inputs, resuming point: ResumePoint?, context: Context
  ) throws(KilnError) -> TrainingPlan {
    var rates = rates ?? MachineRates.cached(for: context) ?? .nominal
    if configuration.disk != nil || configuration.offload.contains(where: { $0 != .optimizer }),
      case .disk(let folder) = configuration.offloadPlace
    {
      rates.disk = BackingStore.rate(of: folder) ?? rates.disk
    }
    let bits = try activationBits(configuration, inputs, resuming: point, context)
    var recorder = PlanRecorder(
      inputs: inputs, planner: Planner(context: context), activationBits: bits, resident: 0)
    let plain = try recorder.record(configuration, rates).plan()
    // The process as it is with a plan in it. What searching leaves behind shows afterwards: then it is counted in, and
    // searched again.
    recorder.resident = resident ?? ProcessMemory.resident
    let limits = Limits(process: budget, device: configuration.deviceMemory)
    guard limits.areSet else {
      try check(plain, fits: context)
      return plain.onTop(of: recorder.resident)
    }
    while true {
      let (found, least) = try search(configuration, recorder, rates, within: limits, isFixed: point != nil)
      let now = resident ?? ProcessMemory.resident
      guard let found else { throw limits.tooSmall(for: least, configuration) }
      let plan = found.onTop(of: now)
      if limits.admit(plan) { return plan.compared(with: plain.onTop(of: now)) }
      recorder.resident = max(now, recorder.resident + 1 << 20)
    }
  }

  /// Without limits, what a device has is one.
  private func check(_ plan: TrainingPlan, fits context: Context) throws(KilnError) {
    guard let memory = context.openCLDevice?.memory, plan.memory.device > memory else { return }
    throw KilnError(
      .memory,
      "\(context.device) has \(formatBytes(memory)) of memory, and the run takes \(formatBytes(plan.memory.device)) there",
      hint: "use --device-memory \(memory >> 20)MiB, by which what does not fit goes to the host's memory")
  }

  /// What each activation is kept in, where that differs: as the run began with, or as is measured now.
  private func activationBits(
    _ configuration: TrainingConfiguration, _ inputs: Inputs, resuming point: ResumePoint?, _ context: Context
  ) throws(KilnError) -> [String: Int]? {
    guard case .allotted(let average) = configuration.compressActivations else { return nil }
    if let known = point?.numericPlan?.activationBits { return known }
    return try ActivationSensitivity(inputs, configuration, context: context).bits(average: average)
  }

  /// The fastest plan of the first way in which one fits, nil where none does, and the least that any takes.
  private func search(
    _ configuration: TrainingConfiguration, _ recorder: PlanRecorder, _ rates: Rates, within limits: Limits,
    isFixed: Bool
  ) throws(KilnError) -> (found: TrainingPlan?, least: Limits) {
    var least = Limits()
    /// The micro-batch and what is lossy change the bits, so they must not depend on how fast this machine is.
    func best(_ way: Way) throws(KilnError) -> TrainingPlan? {
      var chosen: TrainingPlan?
      for variant in way.microBatches {
        let fitting = try fit(try recorder.record(variant, .nominal), within: limits, &least)
        if let fitting, fitting.seconds < chosen?.seconds ?? .infinity { chosen = fitting }
      }
      return chosen
    }
    for way in Way.all(of: configuration, isFixed: isFixed) {
      guard var chosen = try best(way) else { continue }
      // What later changes have made needless is left out again.
      var way = way
      for change in way.changes.dropLast() {
        guard let less = way.without(change) else { continue }
        if less.configuration == way.configuration {
          way = less
        } else if let plan = try best(less) {
          (way, chosen) = (less, plan)
        }
      }
      return (try fit(try recorder.record(chosen.configuration, rates), within: limits, &least) ?? chosen, least)
    }
    return (nil, least)
  }

  /// The fastest plan within the limits; nil where there is none.
  private func fit(
    _ recorded: RecordedStep, within limits: Limits, _ least: inout Limits
  ) throws(KilnError) -> TrainingPlan? {
    let plain = try recorded.plan()
    least.lower(to: plain)
    guard !limits.admit(plain) else { return plain }
    let schedules = recorded.schedules()
    // From the fastest to the smallest: the first that fits, by bisection.
    var fitting: TrainingPlan?
    var (low, high) = (0, schedules.count)
    while low < high {
      let middle = (low + high) / 2
      let plan = try recorded.plan(recomputing: schedules[middle])
      least.lower(to: plan)
      if limits.admit(plan) {
        fitting = plan
        high = middle
      } else {
        low = middle + 1
      }
    }
    return fitting
  }
}

/// Bytes that a run may take, of the process and of the device.
private struct Limits {
  var process: Int?
  var device: Int?

  var areSet: Bool { process != nil || device != nil }

  func admit(_ plan: TrainingPlan) -> Bool {
    plan.memory.total <= process ?? .max && plan.memory.device <= device ?? .max
  }

  mutating func lower(to plan: TrainingPlan) {
    process = min(process ?? .max, plan.memory.total)
    device = min(device ?? .max, plan.memory.device)
  }

  /// - Parameter least: what was found to be possible.
  func tooSmall(for least: Limits, _ configuration: TrainingConfiguration) -> KilnError {
    guard let leastProcess = least.process, let leastDevice = least.device else {
      return KilnError(.argument, "nothing is trained")
    }
    let isDevice = leastDevice > device ?? .max || process == nil
    let flag = isDevice ? "--device-memory" : "--memory"
    let given = (isDevice ? device : process) ?? 0
    let needed = ((isDevice ? leastDevice : leastProcess) + (1 << 20) - 1) >> 20
    let more = [
      configuration.gradClip > 0 ? "--grad-clip 0 (gradients are used up at once)" : nil,
      configuration.disk == nil && configuration.offload.isEmpty && !isDevice
        ? "--disk DIR (the optimizer's state and activations there)" : nil,
      configuration.allow == nil ? "--allow lossy (states and activations in fewer bits)" : nil,
    ].compactMap { $0 }
    return KilnError(
      .memory,
      "\(flag) \(formatBytes(given)) is too small: the \(isDevice ? "device" : "run") takes at least \(needed) MiB",
      hint: "use \(flag) \(needed)MiB" + (more.isEmpty ? "" : ", or with less: " + more.joined(separator: ", ")))
  }
}

/// Records steps of one run in the ways that are weighed.
struct PlanRecorder {
  let inputs: Inputs
  let planner: Planner
  let activationBits: [String: Int]?
  /// Bytes that the process takes before any tensor.
  var resident: Int

  func record(_ configuration: TrainingConfiguration, _ rates: Rates) throws(KilnError) -> RecordedStep {
    var optimizer = try configuration.makeOptimizer()
    let shape = TrainingStep.Shape(
      batch: configuration.batch, microBatch: configuration.microBatch ?? configuration.batch, time: inputs.context,
      dropout: Float(configuration.dropout), clip: configuration.gradClip > 0 ? configuration.gradClip : nil,
      precision: configuration.precision, hasMasters: configuration.hasMasters)
    let weights = inputs.model.parameters
    if configuration.offload.contains(.states) {
      optimizer = try OffloadedStates(
        optimizer, of: shape.hasMasters ? weights : weights.map(shape.precision.operand), in: configuration.offloadPlace
      )
    }
    if configuration.offload.contains(.optimizer) {
      optimizer = try HostUpdates(
        optimizer, of: weights, precision: shape.precision, delayedFrom: configuration.delayUpdate)
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
      graphs: try StepGraphs(
        inputs.model, optimizer, shape, change: configuration.makeSparsity(steps: inputs.steps(configuration))?.change),
      evaluation: evaluation, planner: planner, rates: rates,
      activationBits: activationBits,
      hostBytes: try (optimizer as? HostUpdates)?.hostBytes(planner: planner.context) ?? 0,
      hostSeconds: try (optimizer as? HostUpdates)?.seconds(rates) ?? 0,
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
  let activationBits: [String: Int]?
  /// Of updates on the host.
  let hostBytes: Int
  let hostSeconds: Double
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
    switch configuration.compressActivations {
    case .uniform(let bits): graphs = graphs.compressingActivations(CompressActivations(bits: bits))
    case .allotted:
      graphs = graphs.compressingActivations(CompressActivations(bits: 2, others: activationBits ?? [:]))
    case nil: break
    }
    let place = configuration.offloadPlace
    let store = configuration.offload.contains(.activations) ? ActivationStore(in: place) : nil
    if let store { graphs = graphs.rewritten(by: OffloadActivations(to: store)) }
    let step = try StepPlan(graphs, model, optimizer, planner: planner)
    let states = optimizer as? OffloadedStates
    let behind = (states?.offloadedBytes ?? 0) + (store?.byteCount ?? 0)
    let forecast = MemoryForecast(
      step.plans + [evaluation?.plan].compactMap { $0 }, data: data, resident: resident,
      staging: states?.stagingBytes ?? 0, host: hostBytes + (place == .host ? ProcessMemory.inPages(behind) : 0),
      isApart: planner.context.openCLDevice.map { !$0.isCPU } ?? false)
    return TrainingPlan(
      configuration: configuration, step: step, evaluation: evaluation, optimizer: optimizer, activations: store,
      activationBits: activationBits, memory: forecast, recomputes: recompute != nil, hostSeconds: hostSeconds,
      rates: rates)
  }
}
