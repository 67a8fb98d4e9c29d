import KilnGraph
import KilnKernels
import KilnOptimizers

/// What a run will take, and how.
public struct TrainingPlan {
  /// What was asked for, with all that the planner has chosen.
  public let configuration: TrainingConfiguration
  let step: StepPlan
  let evaluation: LossPlan?
  let optimizer: any Optimizer
  /// Where activations go between the forward and the backward; nil where they stay.
  let activations: ActivationStore?
  /// Of each activation, where they differ.
  let activationBits: [String: Int]?
  public private(set) var memory: MemoryForecast
  /// Techniques by which it differs from what was asked for.
  public private(set) var choices: [Choice] = []
  private let recomputes: Bool
  /// Of updates on the host, which is the same machine's.
  private let hostSeconds: Double
  private let rates: Rates

  /// What techniques saved together and what they cost.
  public struct Choice: Sendable, Hashable {
    public let name: String
    public let bytes: Int
    /// By step.
    public let seconds: Double
  }

  init(
    configuration: TrainingConfiguration, step: StepPlan, evaluation: LossPlan?, optimizer: any Optimizer,
    activations: ActivationStore?, activationBits: [String: Int]?, memory: MemoryForecast, recomputes: Bool,
    hostSeconds: Double, rates: Rates
  ) {
    self.configuration = configuration
    self.step = step
    self.evaluation = evaluation
    self.optimizer = optimizer
    self.activations = activations
    self.activationBits = activationBits
    self.memory = memory
    self.recomputes = recomputes
    self.hostSeconds = hostSeconds
    self.rates = rates
  }

  /// The same in a process that takes so much before any tensor.
  func onTop(of resident: Int) -> TrainingPlan {
    var plan = self
    plan.memory.setRuntime(resident)
    return plan
  }

  /// The same with what it differs by.
  func compared(with plain: TrainingPlan) -> TrainingPlan {
    let share = Double(step.gradient.flops * parts) / Double(plain.step.gradient.flops * plain.parts) - 1
    let old = plain.techniques
    let names = techniques(recomputing: "\(max(1, Int((share * 100).rounded()))) % of the step")
      .filter { !old.contains($0) }
    guard !names.isEmpty else { return self }
    var plan = self
    plan.choices = [
      Choice(
        name: names.joined(separator: ", "), bytes: plain.memory.total - memory.total,
        seconds: seconds - plain.seconds)
    ]
    return plan
  }

  /// What it does to take less memory, chosen or asked for.
  public var techniques: [String] { techniques(recomputing: "an optimal schedule") }

  /// - Parameter schedule: how an optimal schedule is called.
  private func techniques(recomputing schedule: String) -> [String] {
    let recompute = configuration.recompute.flatMap { $0 == .none ? nil : "\($0)" }
    return [
      (recomputes ? schedule : recompute).map { "recomputation (\($0))" },
      microBatch < batch ? "micro-batches of \(microBatch)" : nil,
      configuration.offload.contains(.optimizer) ? "updates on the host" : nil,
      offloaded.isEmpty ? nil : offloaded.joined(separator: " and ") + (isOnDisk ? " on disk" : " in host memory"),
      configuration.compressActivations.map { "activations in \($0) bits" },
      configuration.optimizerState == .fp32 ? nil : "optimizer state in \(configuration.optimizerState.rawValue)",
      configuration.master == .fp32
        ? nil : "no fp32 masters" + (configuration.master == .kahan ? ", Kahan's sums" : ""),
      configuration.optimizer == .adafactor ? "factored states" : nil,
    ].compactMap { $0 }
  }

  private var offloaded: [String] {
    configuration.offload.filter { $0 != .optimizer }.map(\.rawValue).sorted()
  }

  private var isOnDisk: Bool { configuration.offloadPlace != .host }

  /// How often forward and backward run in a step.
  private var parts: Int { batch / microBatch }

  /// Of a step, at the rates that the planner was given. What lies on disk is read and written meanwhile.
  public var seconds: Double {
    let beside = [step.update, step.clear, step.squares].compactMap { $0?.seconds(rates) }.reduce(0, +)
    let bytes = ((optimizer as? OffloadedStates)?.offloadedBytes ?? 0) + (activations?.byteCount ?? 0) * parts
    let transfers = isOnDisk ? Double(2 * bytes) / rates.disk : 0
    return max(step.gradient.seconds(rates) * Double(parts) + beside + hostSeconds, transfers)
  }

  public var batch: Int { step.shape.batch }
  public var microBatch: Int { step.shape.microBatch }
  /// When weights are updated: "immediate" or "deferred".
  public var updateMode: String { step.mode.rawValue }
  public var tokensPerSecond: Double { Double(step.shape.batch * step.shape.time) / seconds }
  /// Whether the rates are those of this machine.
  public var isMeasured: Bool { rates.isMeasured }

  /// What is to be said about offloading once it is open.
  var notices: [String] {
    let stores = [activations?.isDirect, (optimizer as? OffloadedStates)?.isDirect]
    guard case .disk(let folder) = configuration.offloadPlace, stores.contains(false) else { return [] }
    return [
      "'\(folder.path)' has no direct I/O: what is offloaded there also takes memory of the system, as page cache"
    ]
  }

  /// The plan of the gradients, with which the largest part of memory is in use.
  public var gradient: Plan { step.gradient }

  /// The arena that all parts of a step and the evaluation share.
  var arenaBytes: Int { (step.plans + [evaluation?.plan].compactMap { $0 }).map(\.arenaBytes).max() ?? 0 }

  /// The largest tensors when most is in use: persistent ones and those of the arena.
  public var largest: [(name: String, bytes: Int)] {
    let persistent = Set(step.plans.flatMap(\.parameters)).map { ("\($0.role.rawValue) \($0.name)", $0.type.byteCount) }
    let peak = gradient.peak
    let transient = gradient.residents.filter { $0.lifetime.contains(peak) }
      .map { ("\($0.kind.rawValue) \($0.name)", $0.bytes) }
    return (persistent + transient).sorted { ($0.1, $1.0) > ($1.1, $0.0) }
  }
}
