// Which model a config.json describes, and what all kinds have in common.

import Foundation
import KilnKernels

/// What every decoder's configuration tells.
public protocol TransformerConfiguration: Sendable, Equatable, Decodable {
  /// The name in `model_type`.
  static var modelType: String { get }
  /// The name in `architectures`.
  static var architecture: String { get }

  var vocabularySize: Int { get }
  /// The most positions that a sequence may have.
  var contextLength: Int { get }
  var layers: Int { get }
  /// The width of the residual stream.
  var width: Int { get }
  /// The width of the hidden layer of the feed-forward block.
  var hidden: Int { get }
  var heads: Int { get }
  /// Heads of keys and values; `heads` is a multiple.
  var kvHeads: Int { get }
  var headWidth: Int { get }
  /// Whether the output projection is the token embedding.
  var tiesWordEmbeddings: Bool { get }
  /// All parameters, a tied projection counted once.
  var parameterCount: Int { get }
  /// The same with so many units in each layer, each as wide as before.
  func keeping(_ count: Int, of kind: Units.Kind) -> Self
  /// A config.json that transformers loads, old and new versions alike.
  func json() -> Data
}

extension TransformerConfiguration {
  /// Reads a config.json of this kind of model, as transformers writes it (with the keys of version 5 or of older
  /// ones). What would change results and is not supported is an error, not ignored.
  public init(json: Data) throws(KilnError) {
    do {
      self = try JSONDecoder().decode(Self.self, from: json)
    } catch {
      throw configurationError(error)
    }
  }
}

/// The configuration of any supported model.
public enum ModelConfiguration: Sendable, Equatable {
  case gpt2(GPT2Configuration)
  case llama(LlamaConfiguration)

  /// Reads a config.json, whose `model_type` (or else `architectures`) says which model it is of.
  public init(json: Data) throws(KilnError) {
    struct Kind: Decodable {
      enum CodingKeys: String, CodingKey {
        case modelType = "model_type"
        case architectures
      }
      var modelType: String?
      var architectures: [String]?
    }
    let kind: Kind
    do {
      kind = try JSONDecoder().decode(Kind.self, from: json)
    } catch {
      throw configurationError(error)
    }
    switch (kind.modelType, kind.architectures?.first) {
    case (GPT2Configuration.modelType, _), (nil, GPT2Configuration.architecture):
      self = .gpt2(try GPT2Configuration(json: json))
    case (LlamaConfiguration.modelType, _), (nil, LlamaConfiguration.architecture):
      self = .llama(try LlamaConfiguration(json: json))
    case (let type, let architecture):
      throw KilnError(
        .unsupported, "config.json: unknown model_type '\(type ?? architecture ?? "")'",
        hint: "supported are \(GPT2Configuration.modelType) and \(LlamaConfiguration.modelType)")
    }
  }

  /// The configuration, seen as what all kinds have in common.
  public var base: any TransformerConfiguration {
    switch self {
    case .gpt2(let configuration): configuration
    case .llama(let configuration): configuration
    }
  }

  public var modelType: String { type(of: base).modelType }
  public var vocabularySize: Int { base.vocabularySize }
  public var contextLength: Int { base.contextLength }
  public var layers: Int { base.layers }
  public var width: Int { base.width }
  public var hidden: Int { base.hidden }
  public var heads: Int { base.heads }
  public var kvHeads: Int { base.kvHeads }
  public var headWidth: Int { base.headWidth }
  public var tiesWordEmbeddings: Bool { base.tiesWordEmbeddings }
  public var parameterCount: Int { base.parameterCount }

  public func json() -> Data { base.json() }

  public func keeping(_ count: Int, of kind: Units.Kind) -> Self {
    switch self {
    case .gpt2(let configuration): .gpt2(configuration.keeping(count, of: kind))
    case .llama(let configuration): .llama(configuration.keeping(count, of: kind))
    }
  }

  /// The same for files whose matrices are of another type.
  public func stored(as dtype: DType) -> Self {
    switch self {
    case .gpt2(var configuration):
      configuration.dtype = dtype
      return .gpt2(configuration)
    case .llama(var configuration):
      configuration.dtype = dtype
      return .llama(configuration)
    }
  }
}

/// Turns what decoding threw into one clear line.
private func configurationError(_ error: any Error) -> KilnError {
  func name(_ path: [any CodingKey]) -> String { path.map(\.stringValue).joined(separator: ".") }
  return switch error {
  case let error as KilnError:
    KilnError(error.kind, "config.json: \(error.message)", hint: error.hint)
  case DecodingError.typeMismatch(let type, let context), DecodingError.valueNotFound(let type, let context):
    KilnError(.format, "config.json: '\(name(context.codingPath))' is not of type \(type)")
  case DecodingError.keyNotFound(let key, let context):
    KilnError(.format, "config.json: '\(name(context.codingPath + [key]))' is missing")
  case DecodingError.dataCorrupted(let context) where !context.codingPath.isEmpty:
    KilnError(.format, "config.json: '\(name(context.codingPath))' has an invalid value: \(context.debugDescription)")
  default:
    KilnError(.format, "config.json: not valid JSON")
  }
}

/// Checks that sizes are positive and so small that their products can be counted.
func checkSizes(_ sizes: KeyValuePairs<String, Int>, upTo limit: Int = 1 << 20) throws(KilnError) {
  for (name, size) in sizes where size < 1 || size > limit {
    throw KilnError(.argument, "\(name) must be between 1 and \(limit), but is \(size)")
  }
}

/// Checks values that are scales or tolerances.
func checkPositive(_ values: KeyValuePairs<String, Double>) throws(KilnError) {
  for (name, value) in values where !(value > 0 && value.isFinite) {
    throw KilnError(.argument, "\(name) must be positive, but is \(value)")
  }
}

/// Checks probabilities of dropping a value.
func checkProbabilities(_ values: KeyValuePairs<String, Double>) throws(KilnError) {
  for (name, value) in values where !(value >= 0 && value < 1) {
    throw KilnError(.argument, "\(name) must be at least 0 and below 1, but is \(value)")
  }
}

extension KeyedDecodingContainer {
  /// The value under a key, or nil where it is absent or null.
  func optional<Value: Decodable>(_ key: Key) throws -> Value? {
    do {
      return try decodeIfPresent(Value.self, forKey: key)
    } catch  where !(error is DecodingError) {
      // Foundation reports a number that does not fit with an error of its own, which names no key.
      throw KilnError(.format, "'\(key.stringValue)' is not of type \(Value.self)")
    }
  }

  /// The value under a key, or the default where it is absent or null.
  func value<Value: Decodable>(_ key: Key, default defaultValue: Value) throws -> Value {
    try optional(key) ?? defaultValue
  }

  /// Refuses a switch that is set to what is not supported.
  func require(_ key: Key, toBe expected: Bool) throws {
    guard try value(key, default: expected) == expected else {
      throw KilnError(.unsupported, "\(key.stringValue) = \(!expected) is not supported")
    }
  }

  /// Refuses a feature that is described under a key.
  func requireAbsent(_ key: Key) throws {
    guard try !contains(key) || decodeNil(forKey: key) else {
      throw KilnError(.unsupported, "\(key.stringValue) is not supported")
    }
  }

  /// Token ids: one, several, or none.
  func tokens(_ key: Key, default defaultValue: [Int]) throws -> [Int] {
    guard contains(key) else { return defaultValue }
    if try decodeNil(forKey: key) { return [] }
    if let token = try? decode(Int.self, forKey: key) { return [token] }
    return try decode([Int].self, forKey: key)
  }

  /// The type of the weights, under the key of transformers 5 or that of older versions.
  func weightType(_ key: Key, old oldKey: Key) throws -> DType {
    guard let name: String = try optional(key) ?? optional(oldKey) else { return .float32 }
    guard let type = DType(rawValue: name), type.isFloatingPoint else {
      throw KilnError(.unsupported, "\(key.stringValue) '\(name)' is not supported")
    }
    return type
  }
}
