import KilnKernels

/// The optimal schedules of recomputation of a model's branches, from the fastest, which runs little or nothing again, to
/// the one that keeps least.
public struct RecomputeSchedules {
  private let chain: Chain
  private let rotor: Rotor
  /// The most slots of each schedule.
  private let slots: [Int]

  /// - Parameters:
  ///   - outputs: what the graph is run for.
  ///   - seconds: what a node takes.
  public init(for graph: Graph, outputs: [Value], seconds: (Node) -> Double) {
    chain = Chain(graph, by: .branch).merged(to: 50)
    let order = Schedule.order(of: graph, outputs: outputs)
    let rotor = Rotor(StageCosts(graph, order, chain, seconds: seconds).stages)
    self.rotor = rotor
    // Of those that take the same time, the one with the fewest slots.
    let times = (0...Rotor.slots).map { rotor.time(slots: $0) }
    slots = times.indices.reversed().filter { times[$0].isFinite && ($0 == 0 || times[$0 - 1] != times[$0]) }
  }

  public var count: Int { slots.count }

  public subscript(index: Int) -> Recompute {
    guard let schedule = rotor.schedule(slots: slots[index]) else { preconditionFailure("no such schedule") }
    return Recompute(chain, stages: schedule)
  }
}

/// What the stages of a chain take, in time and memory.
private struct StageCosts {
  private(set) var stages: [Rotor.Stage]
  private let graph: Graph

  init(_ graph: Graph, _ order: [Int], _ chain: Chain, seconds: (Node) -> Double) {
    self.graph = graph
    stages = chain.stages.map { _ in
      Rotor.Stage(forward: 0, backward: 0, output: 0, all: 0, forwardPeak: 0, backwardPeak: 0)
    }
    var nodes = chain.stages.map { _ in (forward: [Int](), backward: [Int]()) }
    var made = [Int?](repeating: nil, count: graph.types.count)  // the stage, of values of the forward
    var lastForward = [Int](repeating: -1, count: graph.types.count)
    var lastBackward = [Int](repeating: Int.max, count: graph.types.count)  // the stage; backwards, so the least
    for index in order {
      let node = graph.nodes[index]
      guard let stage = chain.stage(of: index, in: graph) else { continue }
      if node.origin == nil {
        nodes[stage].forward.append(index)
        stages[stage].forward += seconds(node)
        for output in node.outputs { made[output.id] = stage }
        for input in node.inputs { lastForward[input.id] = stage }
      } else {
        nodes[stage].backward.append(index)
        stages[stage].backward += seconds(node)
        for input in node.inputs { lastBackward[input.id] = stage }
      }
    }
    for (value, stage) in made.enumerated() {
      guard let stage else { continue }
      let bytes = graph.types[value].byteCount
      if lastBackward[value] != Int.max || lastForward[value] > stage { stages[stage].all += bytes }
      for passed in stage..<max(stage, lastForward[value]) { stages[passed].output += bytes }
    }
    for stage in stages.indices {
      stages[stage].forwardPeak = peak(of: nodes[stage].forward) { lastForward[$0] > stage }
      stages[stage].backwardPeak = peak(of: nodes[stage].backward) { lastBackward[$0] < stage }
    }
  }

  /// The most bytes of the nodes' own results alive at once; those that `isPassedOn` stay to the end.
  private func peak(of nodes: [Int], isPassedOn: (Int) -> Bool) -> Int {
    var lastUse: [Int: Int] = [:]
    for (time, index) in nodes.enumerated() { for input in graph.nodes[index].inputs { lastUse[input.id] = time } }
    var dying = [Int](repeating: 0, count: nodes.count)
    var (now, peak) = (0, 0)
    for (time, index) in nodes.enumerated() {
      for output in graph.nodes[index].outputs {
        now += output.type.byteCount
        if !isPassedOn(output.id) { dying[max(time, lastUse[output.id] ?? time)] += output.type.byteCount }
      }
      peak = max(peak, now)
      now -= dying[time]
    }
    return peak
  }
}
