import KilnKernels

/// Gives every tensor of a graph its place, before the first step runs.
public struct Planner {
  public let context: Context

  public init(context: Context) { self.context = context }

  /// - Parameter outputs: values that are still there after a run.
  public func plan(_ graph: Graph, outputs: [Value]) throws(KilnError) -> Plan {
    let order = Schedule.order(of: graph, outputs: outputs)
    let lifetimes = Lifetimes(graph, order, outputs: outputs)
    var groups = Groups(graph, order, lifetimes)
    groups.share()

    var residents: [Plan.Resident] = []
    var residentOfRoot: [Int: Int] = [:]
    for (root, span) in groups.arenaSpans() {
      residentOfRoot[root] = residents.count
      residents.append(resident(root, of: graph, during: span))
    }
    let workspaces = try order.map { (index) throws(KilnError) in try workspace(of: graph.nodes[index]) }
    let firstWorkspace = residents.count
    for (time, bytes) in workspaces.enumerated() {
      let name = graph.nodes[order[time]].name
      residents.append(.init(name: name, kind: .workspace, bytes: bytes, lifetime: time...time))
    }
    let blocks = residents.map { Block(size: $0.bytes, start: $0.lifetime.lowerBound, end: $0.lifetime.upperBound) }
    let (offsets, size) = Placement.place(blocks)

    var steps: [Plan.Step] = []
    for (time, index) in order.enumerated() {
      for copy in groups.copies[index] ?? [] { steps.append(.copy(from: copy.from, to: copy.to)) }
      let start = offsets[firstWorkspace + time]
      steps.append(.run(node: index, workspace: start..<start + workspaces[time]))
    }
    let locations = graph.types.indices.map { value -> Plan.Location? in
      let root = groups.root(value)
      if let index = residentOfRoot[root] { return .arena(offsets[index]) }
      if case .parameter(let parameter) = graph.sources[root] { return .parameter(parameter) }
      return nil
    }
    return Plan(
      graph: graph, steps: steps, locations: locations, arenaBytes: size, lowerBound: Placement.lowerBound(blocks),
      largestWorkspace: workspaces.max() ?? 0, residents: residents)
  }

  private func resident(_ value: Int, of graph: Graph, during lifetime: ClosedRange<Int>) -> Plan.Resident {
    let bytes = graph.types[value].byteCount
    guard case .node(let index) = graph.sources[value] else {
      let name = if case .input(let name) = graph.sources[value] { name } else { "" }
      return .init(name: name, kind: .input, bytes: bytes, lifetime: lifetime)
    }
    let node = graph.nodes[index]
    let place = node.outputs.firstIndex { $0.id == value } ?? 0
    let isGradient = node.origin != nil || node.operation.isGradient(output: place)
    return .init(name: node.name, kind: isGradient ? .gradient : .activation, bytes: bytes, lifetime: lifetime)
  }

  /// The scratch of a node, which also checks that its kernels accept its shapes.
  private func workspace(of node: Node) throws(KilnError) -> Int {
    func empty(_ values: [Value]) -> [Tensor] { values.map { Tensor($0.shape, $0.type.dtype, in: nil) } }
    return try context.measuringWorkspace { () throws(KilnError) in
      do throws(KilnError) {
        try node.operation.run(
          in: StepContext(context: context), inputs: empty(node.inputs), outputs: empty(node.outputs))
      } catch {
        throw error.within(node.scope)
      }
    }
  }
}

/// When each value is made and last used, in positions of the order. Inputs live throughout.
private struct Lifetimes {
  var made: [Int]
  var lastUse: [Int]

  init(_ graph: Graph, _ order: [Int], outputs: [Value]) {
    made = [Int](repeating: Int.max, count: graph.types.count)
    lastUse = [Int](repeating: -1, count: graph.types.count)
    var held: [Value] = []
    for (time, index) in order.enumerated() {
      if graph.nodes[index].operation.holdsInputs {
        for value in held { lastUse[value.id] = time }
        held = graph.nodes[index].inputs
      }
      for output in graph.nodes[index].outputs {
        made[output.id] = time
        lastUse[output.id] = time
      }
      for input in graph.nodes[index].inputs { lastUse[input.id] = time }
    }
    for value in outputs + held { lastUse[value.id] = order.count }
    for input in graph.inputValues.values where lastUse[input.id] >= 0 {
      made[input.id] = 0
      lastUse[input.id] = order.count
    }
  }
}

/// Values that share memory: an output that works in place joins the group of its input.
private struct Groups {
  private let graph: Graph
  private let order: [Int]
  private let lifetimes: Lifetimes
  private var parent: [Int]
  /// Copies to make before a node, where an input that is continued must also stay as it is.
  var copies: [Int: [(from: Value, to: Value)]] = [:]

  init(_ graph: Graph, _ order: [Int], _ lifetimes: Lifetimes) {
    self.graph = graph
    self.order = order
    self.lifetimes = lifetimes
    parent = Array(graph.types.indices)
  }

  func root(_ value: Int) -> Int {
    var value = value
    while parent[value] != value { value = parent[value] }
    return value
  }

  mutating func share() {
    for (time, index) in order.enumerated() {
      let node = graph.nodes[index]
      var taken: Set<Int> = []  // a place is given to one output only
      for sharing in node.operation.sharing {
        let input = node.inputs[sharing.input]
        let output = node.outputs[sharing.output]
        guard parent[output.id] == output.id else { continue }
        if isFree(input, after: time, at: node, for: sharing), taken.insert(root(input.id)).inserted,
          input.type == output.type
        {
          parent[output.id] = root(input.id)
        } else if sharing.kind == .continues {
          copies[index, default: []].append((input, output))
        }
      }
    }
  }

  /// Whether nothing needs the input's content beside what this sharing makes of it.
  private func isFree(_ input: Value, after time: Int, at node: Node, for sharing: Sharing) -> Bool {
    let uses = node.inputs.filter { root($0.id) == root(input.id) }.count
    guard lifetimes.lastUse[input.id] == time, uses == 1 else { return false }
    switch graph.sources[input.id] {
    case .input: return false
    // Only a gradient buffer is meant to be accumulated into; a weight changes by updates alone.
    case .parameter(let parameter): return sharing.kind == .continues && parameter.role == .gradient
    case .node:
      if case .parameter = graph.sources[root(input.id)] { return sharing.kind == .continues }
      return true
    }
  }

  /// For each group in the arena: its root, and from when to when it is needed.
  func arenaSpans() -> [(root: Int, span: ClosedRange<Int>)] {
    var spans: [Int: ClosedRange<Int>] = [:]
    for value in graph.types.indices where lifetimes.lastUse[value] >= 0 {
      let root = root(value)
      if case .parameter = graph.sources[root] { continue }
      guard lifetimes.made[value] != Int.max else { continue }
      let own = lifetimes.made[value]...max(lifetimes.made[value], lifetimes.lastUse[value])
      spans[root] = spans[root].map { min($0.lowerBound, own.lowerBound)...max($0.upperBound, own.upperBound) } ?? own
    }
    return spans.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
  }
}
