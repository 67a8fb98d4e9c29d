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

  /// What takes a place in the arena, and from which position of `steps`' nodes to which.
  public struct Resident: Sendable, Hashable {
    public enum Kind: String, Sendable, Hashable, CaseIterable {
      case input, activation, gradient, workspace
    }

    public let name: String
    public let kind: Kind
    public let bytes: Int
    public let lifetime: ClosedRange<Int>
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
  public let residents: [Resident]

  /// The persistent tensors that the graph names.
  public var parameters: [Parameter] { graph.parameterValues.keys.sorted { $0.name < $1.name } }

  /// Bytes of the persistent tensors of a role.
  public func bytes(of role: Parameter.Role) -> Int {
    parameters.filter { $0.role == role }.reduce(0) { $0 + $1.type.byteCount }
  }

  /// Floating-point operations of one run.
  public var flops: Int { nodes.reduce(0) { $0 + $1.operation.work(for: $1.inputs.map(\.type)).flops } }

  /// What one run takes at these rates.
  public func seconds(_ rates: Rates) -> Double { nodes.reduce(0) { $0 + rates.seconds($1) } }

  /// In the order in which they run.
  public var nodes: [Node] {
    steps.compactMap { step in
      if case .run(let index, _) = step { graph.nodes[index] } else { nil }
    }
  }

  /// The bytes of each kind that are alive at each node.
  public var occupancy: [[Resident.Kind: Int]] {
    let count = nodes.count
    var change = [[Resident.Kind: Int]](repeating: [:], count: count + 2)
    for resident in residents {
      change[resident.lifetime.lowerBound][resident.kind, default: 0] += resident.bytes
      change[min(resident.lifetime.upperBound, count) + 1][resident.kind, default: 0] -= resident.bytes
    }
    var now: [Resident.Kind: Int] = [:]
    return change.prefix(count).map { change in
      now.merge(change, uniquingKeysWith: +)
      return now
    }
  }

  /// The bytes of each kind when most is alive.
  public var peakOccupancy: [Resident.Kind: Int] {
    occupancy.max { $0.values.reduce(0, +) < $1.values.reduce(0, +) } ?? [:]
  }

  /// The node at which most is alive.
  public var peak: Int {
    let totals = occupancy.map { $0.values.reduce(0, +) }
    return totals.indices.max { totals[$0] < totals[$1] } ?? 0
  }
}
