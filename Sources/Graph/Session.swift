import KilnKernels

/// Runs a plan, as often as wanted: one call per node, nothing allocated.
public final class Session {
  public let plan: Plan
  private let context: Context
  private let arena: Storage
  private let prepared: [Prepared]
  private let inputs: [String: Tensor]
  private let tensors: [Tensor?]

  private enum Prepared {
    case run(Node, inputs: [Tensor], outputs: [Tensor], workspace: Storage?)
    case copy(from: Tensor, to: Tensor)
  }

  /// - Parameter arena: memory that other sessions use as well, so that inputs have to be set anew before each run and
  ///   outputs to be read after it; nil for memory of its own.
  public init(
    _ plan: Plan, context: Context, store: ParameterStore, arena: Storage? = nil
  ) throws(KilnError) {
    self.plan = plan
    self.context = context
    let arena = if let arena { arena } else { try Storage(byteCount: plan.arenaBytes, on: context) }
    precondition(arena.byteCount >= plan.arenaBytes)
    self.arena = arena
    var tensors = [Tensor?](repeating: nil, count: plan.locations.count)
    for (value, location) in plan.locations.enumerated() {
      let type = plan.graph.types[value]
      switch location {
      case .arena(let offset): tensors[value] = Tensor(type.shape, type.dtype, in: arena, at: offset)
      case .parameter(let parameter): tensors[value] = try store.tensor(parameter)
      case nil: break
      }
    }
    func bound(_ values: [Value]) -> [Tensor] {
      values.map { tensors[$0.id] ?? Tensor($0.shape, $0.type.dtype, in: nil) }
    }
    self.tensors = tensors
    inputs = plan.graph.inputValues.compactMapValues { tensors[$0.id] }
    prepared = plan.steps.map { step in
      switch step {
      case .run(let index, let workspace):
        let node = plan.graph.nodes[index]
        return .run(
          node, inputs: bound(node.inputs), outputs: bound(node.outputs),
          workspace: workspace.isEmpty ? nil : Storage(part: workspace, of: arena))
      case .copy(let from, let to):
        return .copy(from: bound([from])[0], to: bound([to])[0])
      }
    }
  }

  /// An input's memory, to be filled before a run; nil where the graph has none of that name or does not use it.
  public func input(_ name: String) -> Tensor? { inputs[name] }

  /// A value's memory: for an output of the plan, its content after a run.
  public func tensor(of value: Value) -> Tensor {
    guard let tensor = tensors[value.id] else { preconditionFailure("the plan keeps no such value") }
    return tensor
  }

  /// Runs every step and tells what each node took.
  public func measure(_ report: (Node, Duration) -> Void) throws(KilnError) {
    for item in prepared {
      let start = ContinuousClock.now
      try run(item, in: StepContext(context: context), checking: false)
      try context.finish()
      if case .run(let node, _, _, _) = item { report(node, ContinuousClock.now - start) }
    }
    try context.setWorkspace(nil)
  }

  /// Runs every step.
  /// - Parameter checking: looks at every result, stops at the first that is not finite, and leaves weights and states
  ///   alone: to find where a number went wrong.
  public func run(step: Int = 0, seed: UInt64 = 0, checking: Bool = false) throws(KilnError) {
    let stepContext = StepContext(context: context, seed: seed, step: step)
    do throws(KilnError) {
      for item in prepared { try run(item, in: stepContext, checking: checking) }
    } catch {
      // What is still on its way must not meet the next run.
      for node in plan.graph.nodes { node.operation.background?.settle() }
      throw error
    }
    try context.setWorkspace(nil)
  }

  private func run(_ item: Prepared, in step: StepContext, checking: Bool) throws(KilnError) {
    switch item {
    case .copy(let from, let to):
      try context.setWorkspace(nil)
      try context.copy(to, from)
    case .run(let node, let inputs, let outputs, let workspace):
      if checking, changesWeights(node) { return }
      try context.setWorkspace(workspace)
      do throws(KilnError) {
        try node.operation.run(in: step, inputs: inputs, outputs: outputs)
        if checking, node.operation.background == nil { try check(node, outputs) }
      } catch {
        throw error.kind == .numerics ? error : error.within(node.scope)
      }
    }
  }

  private func changesWeights(_ node: Node) -> Bool {
    node.outputs.isEmpty
      && node.operation.mutated.contains { place in
        guard case .parameter(let parameter) = plan.graph.sources[node.inputs[place].id] else { return false }
        return parameter.role != .gradient
      }
  }

  private func check(_ node: Node, _ outputs: [Tensor]) throws(KilnError) {
    try context.setWorkspace(nil)
    for output in outputs where output.dtype.isFloatingPoint && output.storage != nil {
      let sum = try Tensor(zeros: [], .float64, on: context)
      try context.sumSquares(sum, output)
      guard !sum.scalar.isFinite else { continue }
      throw KilnError(
        .numerics,
        "\(node.name) gave a result that is not finite")
    }
  }
}
