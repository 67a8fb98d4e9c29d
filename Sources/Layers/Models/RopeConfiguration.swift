// Rotary position embeddings as a Llama configuration describes them, under new and old keys.

import KilnKernels

extension RotaryFrequencies {
  func check() throws(KilnError) {
    try checkPositive(["rope_theta": base])
    switch scaling {
    case .none: break
    case .linear(let factor): try checkPositive(["rope factor": factor])
    case .llama3(let factor, let low, let high, let original):
      try checkPositive(["rope factor": factor, "low_freq_factor": low])
      guard high > low, high.isFinite else {
        throw KilnError(.argument, "high_freq_factor = \(high) must exceed low_freq_factor = \(low)")
      }
      try checkSizes(["original_max_position_embeddings": original])
    }
  }

  /// The object under `rope_parameters`.
  var json: ConfigurationValue {
    typealias Members = KeyValuePairs<RopeParameters.CodingKeys, ConfigurationValue?>
    let members: Members =
      switch scaling {
      case .none: [.type: .text("default"), .theta: .number(base)]
      case .linear(let factor): [.type: .text("linear"), .theta: .number(base), .factor: .number(factor)]
      case .llama3(let factor, let low, let high, let original):
        [
          .type: .text("llama3"), .theta: .number(base), .factor: .number(factor), .lowFrequency: .number(low),
          .highFrequency: .number(high), .originalContextLength: .integer(original),
        ]
      }
    return .object(members)
  }

  /// The object under `rope_scaling`, with the keys that versions before 5 allow: those before llama3 scaling take
  /// only `type` and `factor`.
  var oldJSON: ConfigurationValue {
    typealias Members = KeyValuePairs<RopeParameters.CodingKeys, ConfigurationValue?>
    let members: Members
    switch scaling {
    case .none: return .null
    case .linear(let factor): members = [.oldType: .text("linear"), .factor: .number(factor)]
    case .llama3(let factor, let low, let high, let original):
      members = [
        .type: .text("llama3"), .factor: .number(factor), .lowFrequency: .number(low), .highFrequency: .number(high),
        .originalContextLength: .integer(original),
      ]
    }
    return .object(members)
  }
}

/// The object under `rope_parameters` or `rope_scaling`.
struct RopeParameters: Decodable {
  var type: String?
  var oldType: String?
  var theta: Double?
  var factor: Double?
  var lowFrequency: Double?
  var highFrequency: Double?
  var originalContextLength: Int?
  var partialRotaryFactor: Double?

  enum CodingKeys: String, CodingKey {
    case type = "rope_type"
    case oldType = "type"
    case theta = "rope_theta"
    case factor
    case lowFrequency = "low_freq_factor"
    case highFrequency = "high_freq_factor"
    case originalContextLength = "original_max_position_embeddings"
    case partialRotaryFactor = "partial_rotary_factor"
  }

  func rope(defaultTheta: Double, defaultContextLength: Int) throws(KilnError) -> RotaryFrequencies {
    let name = type ?? oldType ?? "default"
    let scaling: RotaryFrequencies.Scaling
    switch name {
    case "default": scaling = .none
    case "linear": scaling = .linear(factor: try required(factor, .factor))
    case "llama3":
      scaling = .llama3(
        factor: try required(factor, .factor), lowFrequencyFactor: try required(lowFrequency, .lowFrequency),
        highFrequencyFactor: try required(highFrequency, .highFrequency),
        originalContext: originalContextLength ?? defaultContextLength)
    default:
      throw KilnError(.unsupported, "rope_type '\(name)' is not supported", hint: "supported: default, linear, llama3")
    }
    return RotaryFrequencies(base: theta ?? defaultTheta, scaling: scaling)
  }

  private func required(_ value: Double?, _ key: CodingKeys) throws(KilnError) -> Double {
    guard let value else { throw KilnError(.format, "rope_parameters: '\(key.rawValue)' is missing") }
    return value
  }
}

extension KeyedDecodingContainer {
  /// Takes the object that transformers takes: the older `rope_scaling` before `rope_parameters`, and `rope_theta`
  /// beside it where it has none itself.
  func rope(
    _ key: Key, oldTheta: Key, oldScaling: Key, partialFactor: Key, contextLength: Key
  ) throws -> RotaryFrequencies {
    let parameters = try optional(oldScaling) ?? optional(key) ?? RopeParameters()
    let part = try parameters.partialRotaryFactor ?? optional(partialFactor) ?? 1
    guard part == 1 else { throw KilnError(.unsupported, "partial_rotary_factor = \(part) is not supported") }
    return try parameters.rope(
      defaultTheta: value(oldTheta, default: 10000), defaultContextLength: value(contextLength, default: 2048))
  }
}
