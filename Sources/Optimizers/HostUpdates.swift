import Dispatch
import KilnGraph
import KilnKernels

/// An optimizer at work on the host (ZeRO-Offload: Ren et al., arXiv 2101.06840): the device has weights as products take
/// them and hands over gradients; the host has fp32 weights and states, updates them beside the device's work, and gives
/// the weights back at the end of the step, with the same numbers as on the device.
///
/// Delayed, the update of a step goes on beside the next step, whose gradients are then those of weights that miss it:
/// w(t+1) = w(t) - update(g(w(t-1))). That changes the numbers.
public final class HostUpdates: Optimizer, @unchecked Sendable {
  public let base: any Optimizer
  /// The host's weights, in fp32, and states.
  public let store = ParameterStore()
  /// Steps before updates are delayed; nil for never.
  public let delayedFrom: Int?
  private let jobs: [String: Job]
  private let queue = DispatchQueue(label: "kiln.host")
  private let reads = DispatchQueue(label: "kiln.host.read")
  private var context: Context?
  /// The last gradient on its way to the host, and what is done when it is there.
  private var arriving: (read: Background, update: () -> Void)?

  /// A weight on its way: its gradient comes, its new content goes.
  private final class Job: @unchecked Sendable {
    let weight: Parameter
    let narrow: Parameter
    /// Nil until the host is opened.
    var memory: Memory?
    var work: Background?
    /// Whether the device's weight misses an update.
    var isPending = false

    struct Memory {
      let weight, gradient: Tensor
      let states: [Tensor]
      /// The weight as the device takes it.
      let content: Tensor
    }

    init(_ weight: Parameter, _ precision: Precision) {
      self.weight = weight
      narrow = precision.operand(weight)
    }

    var bytes: Int { weight.shape.count * DType.float32.size + narrow.type.byteCount }
  }

  /// - Parameter weights: all that will be updated, in fp32.
  public init(
    _ base: any Optimizer, of weights: [Parameter], precision: Precision, delayedFrom: Int? = nil
  ) throws(KilnError) {
    try base.checkOffloadable(weights)
    self.base = base
    self.delayedFrom = delayedFrom
    jobs = Dictionary(uniqueKeysWithValues: weights.map { ($0.name, Job($0, precision)) })
  }

  /// Makes the host ready and gives the device the weights that `store` has.
  /// - Parameters:
  ///   - device: what the step runs on.
  ///   - isPending: the device's weights are there already and miss the last update.
  public func open(threads: Int, device: ParameterStore, isPending: Bool) throws(KilnError) {
    let context = try Context(threads: threads)
    self.context = context
    for job in jobs.values {
      let memory = try Job.Memory(
        weight: store.tensor(job.weight), gradient: Tensor(zeros: job.weight.shape),
        states: base.states(of: job.weight).map { (state) throws(KilnError) in try store.tensor(state) },
        content: Tensor(zeros: job.weight.shape, job.narrow.type.dtype))
      job.memory = memory
      try context.copy(memory.content, memory.weight)
      job.isPending = isPending
      if !isPending { try context.copy(try device.tensor(job.narrow), memory.content) }
    }
  }

  /// Waits until the host has everything that it was given.
  public func settle() throws(KilnError) {
    for job in jobs.values { try job.work?.wait() }
  }

  /// Whether the device's weights miss an update between a step and the next.
  public func isDelayed(afterStep step: Int) -> Bool { delayedFrom.map { step >= $0 } ?? false }

  public func update(_ w: WeightUpdate) throws(KilnError) {
    guard let job = jobs[w.parameter.name] else { preconditionFailure("a weight that the host does not have") }
    guard w.weight.storage != nil else { return }
    guard let context, let memory = job.memory else { preconditionFailure("the host is used before it is opened") }
    try publish(job, to: w.weight, by: w.context)
    job.isPending = true
    // For the queue alone, whose context nobody else uses.
    nonisolated(unsafe) let update = WeightUpdate(
      context: context, parameter: job.weight, weight: memory.weight, gradient: memory.gradient, states: memory.states,
      options: w.options)
    arriving = (
      try w.gradient.read(into: memory.gradient, on: reads),
      { [base, queue] in
        job.work = Background(on: queue) { () throws(KilnError) in
          try base.update(update)
          try update.context.copy(memory.content, update.weight)
        }
      }
    )
  }

  /// A gradient is read beside the device's next work.
  public var holdsGradient: Bool { true }

  public func releaseGradient() throws(KilnError) {
    guard let (read, update) = arriving else { return }
    arriving = nil
    try read.wait()
    update()
  }

  /// Gives the device what the host has made of a weight.
  private func publish(_ job: Job, to weight: Tensor, by context: Context) throws(KilnError) {
    try job.work?.wait()
    guard job.isPending, let content = job.memory?.content else { return }
    try context.copy(weight, content)
    job.isPending = false
  }

  public var endsStep: Bool { true }

  public func endStep(_ step: StepContext, _ weights: [(parameter: Parameter, tensor: Tensor)]) throws(KilnError) {
    guard !isDelayed(afterStep: step.step) else { return }
    for (parameter, tensor) in weights {
      guard let job = jobs[parameter.name], tensor.storage != nil else { continue }
      try publish(job, to: tensor, by: step.context)
    }
  }

  /// Of the host: weights, gradients, states, and the scratch of an update.
  public func hostBytes(planner context: Context) throws(KilnError) -> Int {
    var (total, scratch) = (0, 0)
    for job in jobs.values {
      let states = base.states(of: job.weight)
      total += job.bytes + job.weight.type.byteCount + states.reduce(0) { $0 + $1.type.byteCount }
      func empty(_ parameter: Parameter) -> Tensor { Tensor(parameter.shape, parameter.type.dtype, in: nil) }
      let needed = try context.measuringWorkspace { () throws(KilnError) in
        try base.update(
          WeightUpdate(
            context: context, parameter: job.weight, weight: empty(job.weight), gradient: empty(job.weight),
            states: states.map(empty), options: Context.UpdateOptions()))
      }
      scratch = max(scratch, needed)
    }
    return total + scratch
  }

  /// What the updates of a step take at these rates. On a device that shares the host's cores they add to its work.
  public func seconds(_ rates: Rates) throws(KilnError) -> Double {
    let graph = Graph()
    let (lr, scale) = (graph.input("lr", .scalar(.float64)), graph.input("scale", .scalar(.float64)))
    for job in jobs.values.sorted(by: { $0.weight.name < $1.weight.name }) {
      let gradient = graph.input("gradient.\(job.weight.name)", TensorType(job.weight.shape))
      try base.record(job.weight, gradient: gradient, lr: lr, scale: scale)
    }
    return graph.nodes.reduce(0) { $0 + rates.seconds($1) }
  }

  public func states(of weight: Parameter) -> [Parameter] { [] }
  public var weightDecay: Double { base.weightDecay }
  public var format: StateFormat { base.format }
  public var name: String { "\(base.name) on the host" }
  public var summary: String { base.summary }
}
