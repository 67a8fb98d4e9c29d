import KilnGraph
import KilnKernels

/// A part of a model: parameters under their Hugging Face names, and how a value goes through.
public protocol Layer: Sendable {
  var parameters: [Parameter] { get }
  func callAsFunction(_ x: Value) throws(KilnError) -> Value
}

/// What a forward pass is recorded for.
public enum Mode: Sendable, Hashable {
  /// Nothing is kept for a backward pass.
  case inference
  /// Gradients will follow; `dropout` is the probability of an element becoming zero, 0 for none.
  case training(dropout: Float)
}

/// y = activation(x w + b) + residual, where x w may be a product with two sparse matrices, or a sum of two products.
public struct Linear: Layer {
  /// How the weight is stored: as torch's Linear does, or as GPT-2's Conv1D does.
  public enum Storage: Sendable { case outputsByInputs, inputsByOutputs }

  public let weight: Parameter
  public let bias: Parameter?
  let storage: Storage
  /// Projections side by side in the outputs.
  public let parts: Int
  private let first: Parameter?
  private let added: (down: Parameter, up: Parameter)?

  /// - Parameters:
  ///   - parts: the outputs are those of so many projections side by side.
  ///   - unit: inputs that a smaller model leaves out together: those of a head, or one neuron's. Nil where none can be.
  ///   - forms: how weights are kept.
  public init(
    _ name: String, inputs: Int, outputs: Int, bias: Bool, storage: Storage = .outputsByInputs, parts: Int = 1,
    unit: Int? = nil, forms: WeightForms = .dense
  ) {
    let shape: Shape = storage == .outputsByInputs ? [outputs, inputs] : [inputs, outputs]
    weight = forms.weight(
      name + ".weight", shape, .init(parts: parts, splitsColumns: storage == .inputsByOutputs), unit: unit)
    first = forms.first(of: name + ".weight")
    added = forms.added(to: name + ".weight", inputs: inputs, outputs: outputs)
    self.parts = parts
    self.bias = bias ? Parameter(name + ".bias", [outputs]) : nil
    self.storage = storage
  }

  public var inputs: Int { weight.denseShape[storage == .outputsByInputs ? 1 : 0] }
  public var outputs: Int { weight.denseShape[storage == .outputsByInputs ? 0 : 1] }

  public var parameters: [Parameter] {
    [weight] + [weight.factors, first, added?.down, added?.up, bias].compactMap { $0 }
  }

  public func callAsFunction(_ x: Value) throws(KilnError) -> Value { try self(x, residual: nil) }

  public func callAsFunction(
    _ x: Value, activation: Activation? = nil, residual: Value? = nil, mode: Mode = .inference
  ) throws(KilnError) -> Value {
    var operation = Project(transposedWeight: storage == .outputsByInputs)
    operation.hasBias = bias != nil
    operation.activation = activation
    operation.hasResidual = residual != nil
    operation.keepsPreactivation = activation != nil && mode != .inference
    let graph = x.graph
    let x = try first.map { (first) throws(KilnError) in try product(x, first) } ?? x
    if let added {
      let sum = try product(try product(x, added.down), added.up)
      return try self.sum(x, sum, activation: activation, residual: residual)
    }
    var inputs = [x, try graph.weight(weight)]
    if let bias { inputs.append(try graph.stored(bias)) }
    if let residual { inputs.append(residual) }
    return try operation.record(in: graph, inputs, narrow: graph.precision.products)
  }

  /// x w^T alone, w being outputs by inputs.
  private func product(_ x: Value, _ w: Parameter) throws(KilnError) -> Value {
    try Project(transposedWeight: true).record(
      in: x.graph, [x, x.graph.weight(w)], narrow: x.graph.precision.products)
  }

  /// activation(x w + b + sum) + residual.
  private func sum(
    _ x: Value, _ sum: Value, activation: Activation?, residual: Value?
  ) throws(KilnError) -> Value {
    let graph = x.graph
    var operation = Project(transposedWeight: storage == .outputsByInputs)
    (operation.hasBias, operation.hasResidual) = (bias != nil, true)
    var inputs = [x, try graph.weight(weight)]
    if let bias { inputs.append(try graph.stored(bias)) }
    var y = try operation.record(in: graph, inputs + [sum], narrow: graph.precision.products)
    if let activation { y = try graph.record(Activate(activation), [y])[0] }
    if let residual { y = try graph.record(Add(), [y, residual])[0] }
    return y
  }
}

/// Layer normalisation with gain and bias, or RMS normalisation with a gain.
public struct Norm: Layer {
  let gain: Parameter
  let bias: Parameter?
  let eps: Float

  public static func layer(_ name: String, width: Int, eps: Double) -> Norm {
    Norm(gain: Parameter(name + ".weight", [width]), bias: Parameter(name + ".bias", [width]), eps: Float(eps))
  }

  public static func rms(_ name: String, width: Int, eps: Double) -> Norm {
    Norm(gain: Parameter(name + ".weight", [width]), bias: nil, eps: Float(eps))
  }

  public var parameters: [Parameter] { [gain] + (bias.map { [$0] } ?? []) }

  public func callAsFunction(_ x: Value) throws(KilnError) -> Value {
    let operation = Normalize(bias == nil ? .rms : .layer, eps: eps)
    let weights = try parameters.map { (parameter) throws(KilnError) in try x.graph.stored(parameter) }
    return try x.graph.record(operation, [x] + weights)[0]
  }
}

/// Rows of a table, by token or position.
public struct Embedding: Layer {
  public let table: Parameter

  public init(_ name: String, count: Int, width: Int) { table = Parameter(name + ".weight", [count, width]) }

  public var parameters: [Parameter] { [table] }

  public func callAsFunction(_ ids: Value) throws(KilnError) -> Value {
    let graph = ids.graph
    return try graph.record(Lookup(outputType: graph.precision.dtype), [try graph.stored(table), ids])[0]
  }

  /// The rows added to `x`.
  public func callAsFunction(_ ids: Value, addedTo x: Value) throws(KilnError) -> Value {
    try ids.graph.record(Lookup(accumulates: true), [ids.graph.weight(table), ids, x])[0]
  }
}
