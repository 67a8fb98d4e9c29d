import KilnKernels

/// Moves activations to memory behind the device between the forward and the backward (ZeRO-Infinity: Rajbhandari et al.,
/// arXiv 2104.07857): each leaves after its last use in the forward and comes back before its first in the backward, two
/// on the way at a time beside the computation. The numbers do not change.
public struct OffloadActivations: Rewrite {
  public let store: ActivationStore

  /// Smaller values stay.
  static let leastBytes = Placement.pagedSize
  /// Transfers that are on the way in one direction at a time.
  static let depth = 2

  public init(to store: ActivationStore) { self.store = store }

  public func apply(to graph: Graph) -> Rewritten {
    // What is kept last would have to come back before it has left.
    let leaving = Array(graph.kept.filter { $0.value.type.byteCount >= Self.leastBytes }.dropLast(2 * Self.depth))
    let slots = leaving.map { store.reserve($0.value.type.byteCount) }
    let returning = leaving.indices.sorted { (leaving[$0].firstUse, $0) < (leaving[$1].firstUse, $1) }
    let border = graph.nodes.firstIndex { $0.origin != nil } ?? graph.nodes.count
    let evictions = Dictionary(grouping: leaving.indices) { leaving[$0].lastForwardUse }
    let uses = Dictionary(grouping: returning.indices) { leaving[returning[$0]].firstUse }
    var replay = Replay(graph)
    var fetched: [Int: Value] = [:]

    func finishEviction(_ index: Int) {
      guard leaving.indices.contains(index) else { return }
      _ = replay.record(Evicted(store: store, slot: slots[index]), [replay.latest(of: leaving[index].value)])
    }
    func fetch(_ place: Int) {
      guard returning.indices.contains(place) else { return }
      let index = returning[place]
      let operation = Fetch(type: leaving[index].value.type, store: store, slot: slots[index])
      fetched[place] = replay.record(operation, [])[0]
    }
    for index in graph.nodes.indices {
      if index == border {
        for last in leaving.indices.suffix(Self.depth) { finishEviction(last) }
        for first in 0..<Self.depth { fetch(first) }
      }
      for place in uses[index] ?? [] {
        guard let value = fetched[place] else { continue }
        let kept = returning[place]
        let here = replay.record(Fetched(store: store, slot: slots[kept]), [value])[0]
        replay.set(leaving[kept].value, to: here)
        fetch(place + Self.depth)
      }
      replay.run(index)
      for kept in evictions[index] ?? [] {
        finishEviction(kept - Self.depth)
        _ = replay.record(Evict(store: store, slot: slots[kept]), [replay.latest(of: leaving[kept].value)])
      }
    }
    return replay.result
  }
}
