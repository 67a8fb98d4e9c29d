/// A value that is made in the forward and waits for the backward.
public struct Kept {
  public let value: Value
  /// Of the node that makes it and the place among its outputs, told apart where a layer has several alike.
  public let name: String
  /// The last node of the forward that reads it, or the one that makes it, and the first of the backward.
  let lastForwardUse: Int
  let firstUse: Int
}

extension Graph {
  /// The activations that are kept, in the order of their last use in the forward. Gradients that the forward makes and
  /// what is only another form of a weight are not among them.
  var kept: [Kept] {
    let border = nodes.firstIndex { $0.origin != nil } ?? nodes.count
    var values: [Int: (value: Value, name: String)] = [:]
    var occurrences: [String: Int] = [:]
    var lastForwardUse: [Int: Int] = [:]
    var firstUse: [Int: Int] = [:]
    for (index, node) in nodes.enumerated() {
      if index < border {
        occurrences[node.name, default: 0] += 1
        for (place, output) in node.outputs.enumerated()
        where !node.operation.isGradient(output: place) && !node.operation.passesGradient {
          values[output.id] = (output, "\(node.name) \(occurrences[node.name] ?? 0).\(place)")
          lastForwardUse[output.id] = index
        }
        for input in node.inputs where values[input.id] != nil { lastForwardUse[input.id] = index }
      } else {
        for input in node.inputs where values[input.id] != nil && firstUse[input.id] == nil {
          firstUse[input.id] = index
        }
      }
    }
    return firstUse.compactMap { id, use in
      guard let (value, name) = values[id], let last = lastForwardUse[id] else { return nil }
      return Kept(value: value, name: name, lastForwardUse: last, firstUse: use)
    }.sorted { ($0.lastForwardUse, $0.value.id) < ($1.lastForwardUse, $1.value.id) }
  }
}
