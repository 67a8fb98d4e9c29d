import KilnKernels

/// A graph with a place for every tensor, ready to run.
public struct Plan {
  public enum Location: Hashable {
    /// Bytes from the start of the arena.
    case arena(Int)
    case parameter(Parameter)
  }

  public enum Step {
    /// A node, and where its scratch lies in the arena.
    case run(node: Int, workspace: Range<Int>)
    /// A value is copied to where another one continues it.
    case copy(from: Value, to: Value)
  }

  public let graph: Graph
  public let steps: [Step]
  /// By value; nil for one that nothing needs.
  public let locations: [Location?]
  /// Bytes of the arena: activations, gradients, scratch.
  public let arenaBytes: Int
  /// The most bytes of it that are alive at once: no placement can use less.
  public let lowerBound: Int
  public let largestWorkspace: Int

  /// The persistent tensors that the graph names.
  public var parameters: [Parameter] { graph.parameterValues.keys.sorted { $0.name < $1.name } }

  /// Bytes of the persistent tensors of a role.
  public func bytes(of role: Parameter.Role) -> Int {
    parameters.filter { $0.role == role }.reduce(0) { $0 + $1.type.byteCount }
  }

  /// Floating-point operations of one run.
  public var flops: Int {
    steps.reduce(0) { total, step in
      guard case .run(let index, _) = step else { return total }
      let node = graph.nodes[index]
      return total + node.operation.work(for: node.inputs.map(\.type)).flops
    }
  }
}
