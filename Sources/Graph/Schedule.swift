import KilnKernels

/// The order in which a graph's nodes run.
enum Schedule {
  /// The nodes that matter, in recorded order, each eager one moved forward to the first place where it is legal: its
  /// inputs are there and every earlier node that reads what it writes has run. A gradient is then used up as soon as it
  /// is complete, unless the updates wait for a value that needs all gradients, such as the scale of clipping.
  static func order(of graph: Graph, outputs: [Value]) -> [Int] {
    let live = liveNodes(of: graph, outputs: outputs)
    var position: [Int: Int] = [:]  // of the nodes placed so far, by node
    var lastReader: [Int: Int] = [:]  // of persistent values, by value
    for index in live {
      let node = graph.nodes[index]
      guard node.operation.isEager else {
        position[index] = index
        for input in node.inputs { lastReader[input.id] = index }
        continue
      }
      var earliest = -1
      for (place, input) in node.inputs.enumerated() {
        if case .node(let producer) = graph.sources[input.id] {
          earliest = max(earliest, position[producer] ?? producer)
        }
        if node.operation.mutated.contains(place) { earliest = max(earliest, lastReader[input.id] ?? -1) }
      }
      position[index] = earliest
      for place in node.operation.mutated { lastReader[node.inputs[place].id] = earliest }
    }
    // An eager node moved to `earliest` runs after the node recorded there and after those moved there before it.
    return live.enumerated().sorted { a, b in
      let (pa, pb) = (position[a.element] ?? a.element, position[b.element] ?? b.element)
      let (movedA, movedB) = (pa != a.element, pb != b.element)
      return (pa, movedA ? 1 : 0, a.offset) < (pb, movedB ? 1 : 0, b.offset)
    }.map(\.element)
  }

  /// Nodes with an effect, and those that an output or an effect depends on.
  private static func liveNodes(of graph: Graph, outputs: [Value]) -> [Int] {
    var wanted = Set(outputs.map(\.id))
    var live: [Int] = []
    for (index, node) in graph.nodes.enumerated().reversed() {
      let matters = node.outputs.isEmpty || node.outputs.contains { wanted.contains($0.id) }
      guard matters else { continue }
      live.append(index)
      wanted.formUnion(node.inputs.map(\.id))
    }
    return live.reversed()
  }
}
