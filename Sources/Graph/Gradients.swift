import KilnKernels

/// What the pull-back of one node works with.
public final class Pullback {
  public let node: Node
  /// The gradient of each output, nil where none arrives.
  public let gradients: [Value?]
  public let graph: Graph
  private let needed: (Value) -> Bool
  private let existing: (Value) -> Value?
  private let keep: (Value) throws(KilnError) -> Value
  fileprivate var absorbed: Set<Int> = []

  fileprivate init(
    _ node: Node, _ gradients: [Value?], _ graph: Graph, needed: @escaping (Value) -> Bool,
    existing: @escaping (Value) -> Value?, keep: @escaping (Value) throws(KilnError) -> Value
  ) {
    self.node = node
    self.gradients = gradients
    self.graph = graph
    self.needed = needed
    self.existing = existing
    self.keep = keep
  }

  /// Whether anything that is trained lies behind an input.
  public func needs(_ input: Int) -> Bool { needed(node.inputs[input]) }

  /// A value of the forward pass, for use in the backward: itself, or computed again where that is cheap.
  public func saved(_ value: Value) throws(KilnError) -> Value { try keep(value) }

  /// Whether an input has a gradient already, which `absorb` would return.
  public func gradientExists(_ input: Int) -> Bool { existing(node.inputs[input]) != nil }

  /// The gradient that an input has already. A pull-back that takes it returns the sum, accumulated in place; one that
  /// does not returns its own part, and the two are added by another node.
  public func absorb(_ input: Int) -> Value? {
    let value = existing(node.inputs[input])
    if value != nil { absorbed.insert(input) }
    return value
  }
}

extension Graph {
  /// The gradient of a loss by itself, which starts every backward pass.
  public var unit: Value { input("unit", .scalar()) }

  /// What a penalty's gradient is multiplied by where it joins those of a loss: as the loss is, over all micro-batches.
  var penaltyScale: Value { input("penalty_scale", .scalar()) }

  /// Records the backward pass from `seeds` (a value and its gradient each, `unit` for a loss) and returns the gradient of
  /// each parameter in `parameters` that the seeds depend on.
  /// - Parameter buffers: persistent tensors that gradients are accumulated into, instead of values of this graph.
  public func gradients(
    of seeds: [(value: Value, gradient: Value)], for parameters: [Parameter], into buffers: [Parameter: Parameter] = [:]
  ) throws(KilnError) -> [Parameter: Value] {
    let values = parameters.compactMap { parameter in parameterValues[parameter].map { (parameter, $0) } }
    let found = try gradients(of: seeds, for: values.map(\.1), into: buffers)
    return Dictionary(
      uniqueKeysWithValues: values.compactMap { parameter, value in
        found[value].map { (parameter, $0) }
      })
  }

  /// The same with the gradients of any values.
  public func gradients(
    of seeds: [(value: Value, gradient: Value)], for values: [Value], into buffers: [Parameter: Parameter] = [:]
  ) throws(KilnError) -> [Value: Value] {
    let forward = nodes
    let needed = dependents(of: values, upTo: forward.count)
    var gradients: [Int: Value] = [:]  // by the value whose own they are: see `owner`
    for (value, gradient) in seeds { gradients[value.id] = gradient }
    for (parameter, buffer) in buffers where self.parameterValues[parameter] != nil {
      gradients[self[parameter].id] = self[buffer]
    }
    var reached = Set(seeds.map(\.value.id))
    var again: [Int: Value] = [:]

    func keep(_ value: Value) throws(KilnError) -> Value {
      if let known = again[value.id] { return known }
      guard let node = node(of: value), let output = node.outputs.firstIndex(of: value),
        let recipe = node.operation.recomputation(of: output, node: node)
      else { return value }
      var inputs: [Value] = []
      for input in recipe.inputs { inputs.append(try keep(input)) }
      let result = try record(erased: recipe.operation, inputs)[recipe.output]
      again[value.id] = result
      return result
    }

    for (index, node) in forward.enumerated().reversed() where node.outputs.contains(where: { reached.contains($0.id) })
    {
      guard node.inputs.contains(where: { needed.contains($0.id) }) else { continue }
      let pull = Pullback(
        node, node.outputs.map { reached.contains($0.id) ? gradients[$0.id] : nil }, self,
        needed: { needed.contains($0.id) }, existing: { gradients[self.owner(of: $0)] }, keep: keep)
      try backward(of: index) { () throws(KilnError) in
        let parts = try node.operation.pullback(pull)
        precondition(parts.count == node.inputs.count, "\(node.operation.label): a gradient for each input")
        for (place, input) in node.inputs.enumerated() where needed.contains(input.id) {
          guard let part = parts[place] else { continue }
          let owner = owner(of: input)
          precondition(
            part.shape == (input.type.pattern?.whole?.valuesShape ?? input.shape)
              && part.type.dtype == gradientType(of: owner),
            "\(node.operation.label): gradient \(part.type) of \(input.type)")
          if let existing = gradients[owner], !pull.absorbed.contains(place) {
            gradients[owner] = try record(Add(continuing: true), [existing, part])[0]
          } else {
            gradients[owner] = part
          }
          reached.insert(owner)
        }
      }
    }
    return values.reduce(into: [:]) { result, value in
      if reached.contains(value.id) { result[value] = gradients[value.id] }
    }
  }

  /// The value whose gradient a value's is: itself, or what it was converted from.
  private func owner(of value: Value) -> Int {
    var value = value
    while let node = node(of: value), node.operation.passesGradient { value = node.inputs[0] }
    return value.id
  }

  /// The parameter that a value is, or was converted or rearranged from.
  func parameter(behind value: Value) -> Parameter? {
    switch sources[owner(of: value)] {
    case .parameter(let parameter): return parameter
    case .node(let index) where nodes[index].operation.rearrangesWeight:
      return parameter(behind: nodes[index].inputs[0])
    default: return nil
    }
  }

  /// Gradients of parameters are sums over a batch, which take a wide type; others have the type of their value.
  private func gradientType(of owner: Int) -> DType {
    switch sources[owner] {
    case .parameter: types[owner].dtype.wide
    case .node(let index) where nodes[index].operation.rearrangesWeight: types[owner].dtype.wide
    default: types[owner].dtype
    }
  }

  /// The values that depend on the given ones, themselves included.
  private func dependents(of values: [Value], upTo count: Int) -> Set<Int> {
    var result = Set(values.map(\.id))
    for node in nodes.prefix(count) where node.inputs.contains(where: { result.contains($0.id) }) {
      result.formUnion(node.outputs.map(\.id))
    }
    return result
  }
}
