import KilnKernels

/// Makes a graph from another that computes the same, with another use of memory. A recorded graph never changes.
public protocol Rewrite: Sendable {
  func apply(to graph: Graph) -> Rewritten
}

/// A graph made from another.
public struct Rewritten {
  public let graph: Graph
  private let values: [Value?]

  init(graph: Graph, values: [Value?]) {
    self.graph = graph
    self.values = values
  }

  /// What has become of a value of the graph that was rewritten.
  public subscript(value: Value) -> Value {
    guard let result = values[value.id] else { preconditionFailure("the rewritten graph has no such value") }
    return result
  }
}

/// Copies a graph node by node; a node may be run more than once, and what comes then reads its latest results.
struct Replay {
  private let old: Graph
  private let new: Graph
  private var first: [Value?]
  private var latest: [Value?]

  init(_ graph: Graph) {
    old = graph
    new = Graph(precision: graph.precision, hasMasters: graph.hasMasters)
    first = [Value?](repeating: nil, count: graph.types.count)
    for (id, source) in graph.sources.enumerated() {
      switch source {
      case .input(let name): first[id] = new.input(name, graph.types[id])
      case .parameter(let parameter): first[id] = new[parameter]
      case .node: break
      }
    }
    latest = first
  }

  mutating func run(_ index: Int) {
    let node = old.nodes[index]
    let inputs = node.inputs.map { (input) -> Value in
      guard let value = latest[input.id] else { preconditionFailure("\(node.operation.label) runs before its input") }
      return value
    }
    for (output, value) in zip(node.outputs, new.replay(node, on: inputs)) {
      latest[output.id] = value
      if first[output.id] == nil { first[output.id] = value }
    }
  }

  /// What nodes read from now on in place of a value.
  mutating func set(_ value: Value, to replacement: Value) { latest[value.id] = replacement }

  func latest(of value: Value) -> Value {
    guard let value = latest[value.id] else { preconditionFailure("a value that is not there yet") }
    return value
  }

  /// Appends a node that the old graph does not have, whose shapes are known to fit.
  func record(_ operation: some Operation, _ inputs: [Value]) -> [Value] {
    do throws(KilnError) { return try new.record(operation, inputs) } catch { preconditionFailure(error.message) }
  }

  var result: Rewritten { Rewritten(graph: new, values: first) }
}
