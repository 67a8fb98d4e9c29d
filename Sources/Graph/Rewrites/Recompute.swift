import KilnKernels

/// Rematerialisation (Chen et al., arXiv 1604.06174): parts of the forward pass run again in the backward, so that less
/// is kept between the two. Results are the same bits, since random numbers are functions of their site.
public struct Recompute: Rewrite {
  private let chain: Chain
  /// The forward nodes that run again before the backward of each stage. Those that nothing needs are never run.
  private let again: [[Int]]

  private init(_ chain: Chain, _ again: [[Int]]) {
    self.chain = chain
    self.again = again
  }

  /// Keeps what every `count`-th layer passes on; the layers between run again as one before their backward, but for the
  /// last ones, whose backward comes at once.
  public static func every(_ count: Int, layersOf graph: Graph) -> Recompute {
    let chain = Chain(graph, by: .layer)
    let again = chain.stages.indices.map { stage -> [Int] in
      guard (stage + 1) % count == 0, stage + 1 < chain.stages.count else { return [] }
      return Array(stage + 1 - count...stage)
    }
    return Recompute(chain, stages: again)
  }

  /// `every` with the square root of the number of layers, which keeps O(sqrt(layers)).
  public static func squareRoot(layersOf graph: Graph) -> Recompute {
    let count = Double(Chain(graph, by: .layer).stages.count).squareRoot()
    return every(max(1, Int(count.rounded())), layersOf: graph)
  }

  /// Runs attention alone again (selective recomputation: Korthikanti et al., arXiv 2205.05198): queries, keys and values
  /// are kept, the mixed values are not.
  public static func attention(of graph: Graph) -> Recompute {
    let chain = Chain(graph, by: .branch)
    return Recompute(chain, chain.stages.map { $0.filter { graph.nodes[$0].operation is Attend } })
  }

  /// By a schedule over a chain: before the backward of each stage, the stages that run again.
  init(_ chain: Chain, stages: [[Int]]) {
    self.init(chain, stages.map { $0.flatMap { chain.stages[$0] } })
  }

  public func apply(to graph: Graph) -> Rewritten {
    var replay = Replay(graph)
    var reached = chain.stages.count  // by the backward
    for (index, node) in graph.nodes.enumerated() {
      if node.origin != nil, let stage = chain.stage(of: index, in: graph), stage < reached {
        // What leaves a trace, such as a remembered magnitude, happens once: its results are kept.
        for repeated in (stage..<reached).reversed().flatMap({ again[$0] })
        where graph.nodes[repeated].operation.mutated.isEmpty { replay.run(repeated) }
        reached = stage
      }
      replay.run(index)
    }
    return replay.result
  }
}
