import KilnGraph
import KilnKernels

/// A decoder that predicts the next token.
public protocol LanguageModel: Sendable {
  var configuration: ModelConfiguration { get }

  /// Every parameter once, under its Hugging Face name.
  var parameters: [Parameter] { get }

  /// The output projection [vocabulary, width]; the token embedding itself where the two are tied.
  var head: Parameter { get }

  /// The last layer's normalised output [b, t, width] for tokens [b, t] at positions [t].
  /// - Parameter cache: the positions before these, for generation.
  func hidden(_ tokens: Value, positions: Value, mode: Mode, cache: KVCache?) throws(KilnError) -> Value

  /// What a parameter of a new model starts as.
  func initialValue(of parameter: Parameter) -> InitialValue

  /// What a smaller model of the kind could do without: heads and neurons, layer by layer.
  var units: [Units] { get }
}

/// Equal parts of a layer, each of which could be left out.
public struct Units: Sendable {
  public enum Kind: String, Sendable, Hashable, Codable, CaseIterable { case heads, neurons }

  public let kind: Kind
  /// Whose outputs they are, in order; of several projections in one, of each of its parts.
  public let producers: [Linear]
  /// Whose inputs they are.
  public let consumer: Linear
  public let count: Int
}

extension LanguageModel {
  /// Of inputs of weights, where these are slimmed.
  public var factors: [Parameter] { parameters.compactMap(\.factors) }

  /// What files have of a model: factors are multiplied into the weights there.
  public var savedParameters: [Parameter] {
    let factors = Set(factors)
    return parameters.filter { !factors.contains($0) }
  }

  /// Inputs of a recorded step: tokens and targets [b, t], positions [t], and the factor of the loss.
  public static var inputNames: (tokens: String, targets: String, positions: String, scale: String) {
    ("tokens", "targets", "positions", "loss_scale")
  }

  /// Records loss = loss_scale * sum of the cross-entropies of a batch.
  public func loss(in graph: Graph, batch: Int, time: Int, mode: Mode) throws(KilnError) -> Value {
    let names = Self.inputNames
    let tokens = graph.input(names.tokens, TensorType([batch, time], .int32))
    let targets = graph.input(names.targets, TensorType([batch, time], .int32))
    let x = try hidden(
      tokens, positions: graph.input(names.positions, TensorType([time], .int32)), mode: mode, cache: nil)
    let trains = mode != .inference
    return try graph.scope("loss") { () throws(KilnError) in
      let scale = graph.input(names.scale, .scalar())
      guard graph.precision.headProducts == nil else {
        let logits = try logits(of: x, in: graph)
        return try graph.record(CrossEntropy(trains: trains), [logits, targets, scale])[0]
      }
      let operation = LinearCrossEntropy(trainsInput: trains, trainsWeight: trains)
      return try graph.record(operation, [x, graph.weight(head), targets, scale])[0]
    }
  }

  /// Records the logits [b, 1, vocabulary], in fp32, of the token after `time` new ones.
  public func nextLogits(in graph: Graph, batch: Int, time: Int, cache: KVCache) throws(KilnError) -> Value {
    let names = Self.inputNames
    let tokens = graph.input(names.tokens, TensorType([batch, time], .int32))
    let x = try hidden(
      tokens, positions: graph.input(names.positions, TensorType([time], .int32)), mode: .inference, cache: cache)
    return try graph.scope("head") { () throws(KilnError) in
      try logits(of: try graph.record(LastPosition(), [x])[0], in: graph, as: .float32)
    }
  }

  private func logits(of x: Value, in graph: Graph, as type: DType? = nil) throws(KilnError) -> Value {
    var project = Project(transposedWeight: true)
    project.outputType = type
    return try project.record(in: graph, [x, graph.weight(head)], narrow: graph.precision.headProducts)
  }
}

extension ModelConfiguration {
  /// The model that the configuration describes.
  /// - Parameter forms: how weights are kept.
  public func makeModel(_ forms: WeightForms = .dense) -> any LanguageModel {
    switch self {
    case .gpt2(let configuration): GPT2(configuration, forms: forms)
    case .llama(let configuration): Llama(configuration, forms: forms)
    }
  }
}
