import KilnKernels

/// A step of training or inference, recorded before it runs: operations on values, in an order that is valid to run.
/// It only ever grows.
public final class Graph {
  /// Where a value comes from.
  public enum Source {
    case input(String)
    case parameter(Parameter)
    case node(Int)
  }

  public private(set) var nodes: [Node] = []
  public private(set) var types: [TensorType] = []
  public private(set) var sources: [Source] = []
  private var inputs: [String: Value] = [:]
  private var parameters: [Parameter: Value] = [:]
  private var converted: [Parameter: Value] = [:]
  /// Sparse weights as dense matrices, where products take them so.
  var densified: [Value: Value] = [:]
  private var scopes: [String] = []
  private var origin: Int?

  public let precision: Precision
  /// Whether weights are kept in fp32, as training does, and converted where they are used; otherwise they are kept in
  /// the step's precision.
  public let hasMasters: Bool
  /// Whether products take all sparse weights as dense matrices, whose gradients then tell where more should be kept.
  public let densifies: Bool
  private let substitute: Substitute?

  /// What a model reads in place of a weight; nil where it reads the weight itself.
  public typealias Substitute = (Graph, Parameter) throws(KilnError) -> Value?

  public init(
    precision: Precision = .fp32, hasMasters: Bool = true, densifies: Bool = false, substitute: Substitute? = nil
  ) {
    self.precision = precision
    self.hasMasters = hasMasters
    self.densifies = densifies
    self.substitute = substitute
  }

  public var inputValues: [String: Value] { inputs }
  public var parameterValues: [Parameter: Value] { parameters }

  /// Data that the caller sets before each run.
  public func input(_ name: String, _ type: TensorType) -> Value {
    if let known = inputs[name] {
      precondition(known.type == type, "input \(name) is recorded as \(known.type) and as \(type)")
      return known
    }
    let value = append(type, .input(name))
    inputs[name] = value
    return value
  }

  /// The current content of a persistent tensor.
  public subscript(parameter: Parameter) -> Value {
    if let known = parameters[parameter] { return known }
    let value = append(parameter.type, .parameter(parameter))
    parameters[parameter] = value
    return value
  }

  /// A weight as it is kept between steps.
  public func stored(_ parameter: Parameter) throws(KilnError) -> Value {
    if let value = try substitute?(self, parameter) { return value }
    return self[hasMasters ? parameter : precision.operand(parameter)]
  }

  /// A weight as products take it: in the step's precision.
  public func weight(_ parameter: Parameter) throws(KilnError) -> Value {
    if let known = converted[parameter] { return known }
    var value = try stored(parameter)
    if let form = parameter.form, case .parameter = sources[value.id] {
      let others = try form.with.map { (parameter) throws(KilnError) in try stored(parameter) }
      value = try record(erased: form.operation, [value] + others)[0]
    }
    if value.type != precision.operand(parameter).type {
      value = try record(Convert(to: precision.dtype), [value])[0]
    }
    converted[parameter] = value
    return value
  }

  /// The dense matrix that products have taken a sparse weight as; nil where they took it as it is.
  public func densified(_ parameter: Parameter) throws(KilnError) -> Value? { densified[try weight(parameter)] }

  /// Appends a node. Shapes that do not fit are an error here, not when it runs.
  @discardableResult
  public func record(_ operation: some Operation, _ inputs: [Value]) throws(KilnError) -> [Value] {
    try record(erased: operation, inputs)
  }

  @discardableResult
  func record(erased operation: any Operation, _ inputs: [Value]) throws(KilnError) -> [Value] {
    precondition(inputs.allSatisfy { $0.graph === self }, "a value of another graph")
    let outputTypes: [TensorType]
    do throws(KilnError) {
      outputTypes = try operation.outputs(for: inputs.map(\.type))
    } catch {
      throw error.within(operation.label).within(scope)
    }
    let outputs = outputTypes.map { append($0, .node(nodes.count)) }
    nodes.append(Node(operation: operation, inputs: inputs, outputs: outputs, scope: scope, origin: origin))
    return outputs
  }

  /// Appends a node of another graph as it is.
  func replay(_ node: Node, on inputs: [Value]) -> [Value] {
    let outputs = node.outputs.map { append($0.type, .node(nodes.count)) }
    nodes.append(
      Node(operation: node.operation, inputs: inputs, outputs: outputs, scope: node.scope, origin: node.origin))
    return outputs
  }

  /// Records `body` under a name, for messages, plans and pictures.
  public func scope<R>(_ name: String, _ body: () throws(KilnError) -> R) throws(KilnError) -> R {
    scopes.append(name)
    defer { scopes.removeLast() }
    return try body()
  }

  /// Records the gradient of a forward node.
  func backward<R>(of index: Int, _ body: () throws(KilnError) -> R) throws(KilnError) -> R {
    origin = index
    defer { origin = nil }
    return try scope(nodes[index].scope.isEmpty ? "backward" : nodes[index].scope + ".backward", body)
  }

  /// The full name of where recording stands.
  public var scope: String { scopes.joined(separator: ".") }

  public func node(of value: Value) -> Node? {
    if case .node(let index) = sources[value.id] { nodes[index] } else { nil }
  }

  private func append(_ type: TensorType, _ source: Source) -> Value {
    types.append(type)
    sources.append(source)
    return Value(graph: self, id: types.count - 1, type: type)
  }
}

extension KilnError {
  /// The same, told of a part of the graph; an empty name adds nothing.
  func within(_ scope: String) -> KilnError {
    scope.isEmpty ? self : KilnError(kind, "\(scope): \(message)", hint: hint)
  }
}
