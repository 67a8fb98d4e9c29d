import KilnKernels

/// Keeps activations from the forward to the backward in few bits (ActNN: Chen et al., arXiv 2104.14129; GACT: Liu et
/// al., arXiv 2206.11357). The forward itself does not change; gradients become noisy, with the right mean.
///
/// Attention runs again on what is kept of its queries, keys and values, so that its probabilities fit them. Dropout and
/// ReLU need no masks: the one draws its numbers again, the other's slope is the sign of what is kept.
public struct CompressActivations: Rewrite {
  /// 8, 4 or 2.
  public let bits: Int

  /// Values of fewer elements stay as they are.
  static let leastCount = 4096
  private static let types: Set<DType> = [.float32, .bfloat16, .float16]
  /// Sites of the model's own random numbers are below.
  private static let firstSite: UInt32 = 1 << 30

  public init(bits: Int) {
    precondition([8, 4, 2].contains(bits))
    self.bits = bits
  }

  public func apply(to graph: Graph) -> Rewritten {
    let border = graph.nodes.firstIndex { $0.origin != nil } ?? graph.nodes.count
    var replay = Replay(graph)
    let spans = kept(of: graph, across: border)
    var compressed: [Int: (codes: Value, scales: Value)] = [:]
    for (index, node) in graph.nodes.enumerated() {
      for input in node.inputs where spans[input.id]?.firstUse == index {
        guard let (codes, scales) = compressed[input.id] else { continue }
        replay.set(input, to: replay.record(DecompressGroups(type: input.type, bits: bits), [codes, scales])[0])
      }
      replay.run(index)
      for value in Set(node.inputs + node.outputs) where spans[value.id]?.lastForwardUse == index {
        let site = Self.firstSite + UInt32(value.id)
        let parts = replay.record(CompressGroups(bits: bits, site: site), [replay.latest(of: value)])
        compressed[value.id] = (parts[0], parts[1])
      }
    }
    return replay.result
  }

  private struct Span {
    var lastForwardUse: Int
    var firstUse: Int
  }

  /// The values that are large enough, made and used before the border and used behind it.
  private func kept(of graph: Graph, across border: Int) -> [Int: Span] {
    var spans: [Int: Span] = [:]
    for (index, node) in graph.nodes.enumerated() {
      if index < border {
        for (place, output) in node.outputs.enumerated()
        where output.shape.count >= Self.leastCount && Self.types.contains(output.type.dtype)
          && !node.operation.isGradient(output: place) && !node.operation.passesGradient
        {
          spans[output.id] = Span(lastForwardUse: index, firstUse: .max)
        }
        for input in node.inputs { spans[input.id]?.lastForwardUse = index }
      } else {
        for input in node.inputs where spans[input.id]?.firstUse == .max { spans[input.id]?.firstUse = index }
      }
    }
    return spans.filter { $0.value.firstUse != .max }
  }
}
