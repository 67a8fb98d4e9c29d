import KilnKernels

/// Keeps activations from the forward to the backward in few bits (ActNN: Chen et al., arXiv 2104.14129; GACT: Liu et
/// al., arXiv 2206.11357). The forward itself does not change; gradients become noisy, with the right mean.
///
/// Attention runs again on what is kept of its queries, keys and values, so that its probabilities fit them. Dropout and
/// ReLU need no masks: the one draws its numbers again, the other's slope is the sign of what is kept.
public struct CompressActivations: Rewrite {
  /// 8, 4 or 2; 0 leaves a value as it is.
  public let bits: Int
  /// Of values that have others, by name.
  public let others: [String: Int]

  /// Values of fewer elements stay as they are.
  public let leastCount: Int
  private static let types: Set<DType> = [.float32, .bfloat16, .float16]
  /// Sites of the model's own random numbers are below.
  private static let firstSite: UInt32 = 1 << 30

  public init(bits: Int, others: [String: Int] = [:], leastCount: Int = 4096) {
    precondition(others.values.allSatisfy([8, 4, 2, 0].contains) && [8, 4, 2, 0].contains(bits))
    self.bits = bits
    self.others = others
    self.leastCount = leastCount
  }

  /// What can be kept in few bits, in the order of its last use in the forward.
  public func values(of graph: Graph) -> [Kept] {
    graph.kept.filter { $0.value.shape.count >= leastCount && Self.types.contains($0.value.type.dtype) }
  }

  public func apply(to graph: Graph) -> Rewritten {
    let values = values(of: graph).filter { bits(of: $0) > 0 }
    let leaving = Dictionary(grouping: values.indices) { values[$0].lastForwardUse }
    let returning = Dictionary(grouping: values.indices) { values[$0].firstUse }
    var parts: [Int: [Value]] = [:]
    var replay = Replay(graph)
    for index in graph.nodes.indices {
      for kept in returning[index] ?? [] {
        guard let compressed = parts[kept] else { continue }
        let value = values[kept].value
        let operation = DecompressGroups(type: value.type, bits: bits(of: values[kept]))
        replay.set(value, to: replay.record(operation, compressed)[0])
      }
      replay.run(index)
      for kept in leaving[index] ?? [] {
        let value = values[kept].value
        let operation = CompressGroups(bits: bits(of: values[kept]), site: Self.firstSite + UInt32(value.id))
        parts[kept] = replay.record(operation, [replay.latest(of: value)])
      }
    }
    return replay.result
  }

  private func bits(of kept: Kept) -> Int { others[kept.name] ?? bits }
}
