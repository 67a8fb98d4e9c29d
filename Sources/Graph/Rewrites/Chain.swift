import KilnKernels

/// The forward pass of a graph as a chain of stages: runs of nodes that were recorded one after another in one part of
/// the model.
struct Chain {
  enum Grain {
    /// The branches of a layer apart: "h.3.attn", "h.3.mlp".
    case branch
    /// A layer as a whole: "h.3".
    case layer
  }

  /// The forward nodes of each stage.
  private(set) var stages: [Range<Int>] = []

  init(_ graph: Graph, by grain: Grain) {
    let end = graph.nodes.firstIndex { $0.origin != nil } ?? graph.nodes.count
    var current: Substring?
    for (index, node) in graph.nodes.prefix(end).enumerated() {
      let part = grain == .branch ? node.scope[...] : Self.layer(of: node.scope)
      if part == current, let last = stages.indices.last {
        stages[last] = stages[last].lowerBound..<index + 1
      } else {
        stages.append(index..<index + 1)
      }
      current = part
    }
  }

  /// The same with neighbours put together, so that at most `limit` stages are left.
  func merged(to limit: Int) -> Chain {
    let size = (stages.count + limit - 1) / limit
    guard size > 1 else { return self }
    var result = self
    result.stages = stride(from: 0, to: stages.count, by: size).map { start in
      stages[start].lowerBound..<stages[min(start + size, stages.count) - 1].upperBound
    }
    return result
  }

  /// The stage of a node, or of the one whose gradient it is part of; nil for updates and what else follows.
  func stage(of index: Int, in graph: Graph) -> Int? {
    let index = graph.nodes[index].origin ?? index
    var (low, high) = (0, stages.count)
    while low < high {
      let middle = (low + high) / 2
      if stages[middle].upperBound > index { high = middle } else { low = middle + 1 }
    }
    return low < stages.count ? low : nil
  }

  /// A scope up to its first number.
  private static func layer(of scope: String) -> Substring {
    var end = scope.startIndex
    for part in scope.split(separator: ".") {
      end = part.endIndex
      if part.allSatisfy(\.isNumber) { break }
    }
    return scope[..<end]
  }
}
