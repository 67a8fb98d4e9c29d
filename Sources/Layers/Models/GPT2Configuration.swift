// The configuration of GPT-2 models.

import Foundation
import KilnKernels

/// The shape and the constants of a GPT-2 model. The values that are omitted are those of the smallest GPT-2.
public struct GPT2Configuration: TransformerConfiguration {
  public static let modelType = "gpt2"
  public static let architecture = "GPT2LMHeadModel"

  /// The activation of the feed-forward block, by its name in transformers.
  public enum Activation: String, Sendable, CaseIterable {
    /// GELU by tanh, under its two names.
    case geluNew = "gelu_new"
    case geluTanh = "gelu_pytorch_tanh"
    /// GELU by the error function.
    case gelu
    case relu
    case silu
  }

  public let vocabularySize: Int
  public let contextLength: Int
  public let width: Int
  public let layers: Int
  public private(set) var heads: Int
  public let headWidth: Int
  public private(set) var hidden: Int
  public let activation: Activation
  public let layerNormEpsilon: Double
  public let initializerRange: Double
  public let residualDropout: Double
  public let embeddingDropout: Double
  public let attentionDropout: Double
  public let tiesWordEmbeddings: Bool
  /// The token that begins a text.
  public let bosToken: Int?
  /// The tokens that end a text.
  public let eosTokens: [Int]
  /// The type of the weights in the model's files.
  public var dtype: DType

  public var kvHeads: Int { heads }

  public var parameterCount: Int {
    let attended = heads * headWidth
    let attention = 4 * width * attended + 3 * attended + width
    let feedForward = 2 * width * hidden + hidden + width
    let embeddings = (vocabularySize * (tiesWordEmbeddings ? 1 : 2) + contextLength) * width
    return embeddings + layers * (attention + feedForward + 4 * width) + 2 * width
  }

  /// `hidden` is four times the width, and `headWidth` is `width / heads`, unless they are given. An impossible shape is
  /// an error.
  public init(
    vocabularySize: Int = 50257, contextLength: Int = 1024, width: Int = 768, layers: Int = 12, heads: Int = 12,
    headWidth: Int? = nil, hidden: Int? = nil, activation: Activation = .geluNew, layerNormEpsilon: Double = 1e-5,
    initializerRange: Double = 0.02, residualDropout: Double = 0.1, embeddingDropout: Double = 0.1,
    attentionDropout: Double = 0.1, tiesWordEmbeddings: Bool = true, bosToken: Int? = nil, eosTokens: [Int] = [],
    dtype: DType = .float32
  ) throws(KilnError) {
    try checkSizes([
      "vocab_size": vocabularySize, "n_positions": contextLength, "n_embd": width, "n_head": heads,
    ])
    try checkSizes(["n_layer": layers], upTo: 1 << 14)
    let hidden = hidden ?? 4 * width
    try checkSizes(["n_inner": hidden])
    guard headWidth != nil || width % heads == 0 else {
      throw KilnError(.argument, "n_embd = \(width) is not a multiple of n_head = \(heads)")
    }
    let headWidth = headWidth ?? width / heads
    try checkSizes(["head_dim": headWidth, "n_head * head_dim": heads &* headWidth])
    try checkPositive(["layer_norm_epsilon": layerNormEpsilon, "initializer_range": initializerRange])
    try checkProbabilities([
      "resid_pdrop": residualDropout, "embd_pdrop": embeddingDropout, "attn_pdrop": attentionDropout,
    ])
    self.vocabularySize = vocabularySize
    self.contextLength = contextLength
    self.width = width
    self.layers = layers
    self.heads = heads
    self.headWidth = headWidth
    self.hidden = hidden
    self.activation = activation
    self.layerNormEpsilon = layerNormEpsilon
    self.initializerRange = initializerRange
    self.residualDropout = residualDropout
    self.embeddingDropout = embeddingDropout
    self.attentionDropout = attentionDropout
    self.tiesWordEmbeddings = tiesWordEmbeddings
    self.bosToken = bosToken
    self.eosTokens = eosTokens
    self.dtype = dtype
  }
}

extension GPT2Configuration {
  /// Where heads are left out, the rest is narrower than the model: such a model is Kiln's alone.
  public func keeping(_ count: Int, of kind: Units.Kind) -> Self {
    var result = self
    switch kind {
    case .heads: result.heads = count
    case .neurons: result.hidden = count
    }
    return result
  }

  private enum CodingKeys: String, CodingKey {
    case modelType = "model_type"
    case architectures
    case vocabularySize = "vocab_size"
    case contextLength = "n_positions"
    case oldContextLength = "n_ctx"
    case width = "n_embd"
    case layers = "n_layer"
    case heads = "n_head"
    /// Of Kiln alone: transformers makes all heads together as wide as the model.
    case headWidth = "head_dim"
    case hidden = "n_inner"
    case activation = "activation_function"
    case layerNormEpsilon = "layer_norm_epsilon"
    case initializerRange = "initializer_range"
    case residualDropout = "resid_pdrop"
    case embeddingDropout = "embd_pdrop"
    case attentionDropout = "attn_pdrop"
    case tiesWordEmbeddings = "tie_word_embeddings"
    case bosToken = "bos_token_id"
    case eosTokens = "eos_token_id"
    case dtype
    case oldDtype = "torch_dtype"
    case scalesAttention = "scale_attn_weights"
    case scalesAttentionByLayer = "scale_attn_by_inverse_layer_idx"
    case reordersAttention = "reorder_and_upcast_attn"
    case addsCrossAttention = "add_cross_attention"
    case quantization = "quantization_config"
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    try values.require(.scalesAttention, toBe: true)
    try values.require(.scalesAttentionByLayer, toBe: false)
    try values.require(.reordersAttention, toBe: false)
    try values.require(.addsCrossAttention, toBe: false)
    try values.requireAbsent(.quantization)
    let activation = try values.value(.activation, default: Activation.geluNew.rawValue)
    guard let activation = Activation(rawValue: activation) else {
      let names = Activation.allCases.map(\.rawValue).joined(separator: ", ")
      throw KilnError(.unsupported, "activation_function '\(activation)' is not supported", hint: "supported: \(names)")
    }
    try self.init(
      vocabularySize: values.value(.vocabularySize, default: 50257),
      contextLength: values.value(.contextLength, default: values.value(.oldContextLength, default: 1024)),
      width: values.value(.width, default: 768),
      layers: values.value(.layers, default: 12),
      heads: values.value(.heads, default: 12),
      headWidth: values.optional(.headWidth),
      hidden: values.optional(.hidden),
      activation: activation,
      layerNormEpsilon: values.value(.layerNormEpsilon, default: 1e-5),
      initializerRange: values.value(.initializerRange, default: 0.02),
      residualDropout: values.value(.residualDropout, default: 0.1),
      embeddingDropout: values.value(.embeddingDropout, default: 0.1),
      attentionDropout: values.value(.attentionDropout, default: 0.1),
      tiesWordEmbeddings: values.value(.tiesWordEmbeddings, default: true),
      bosToken: values.tokens(.bosToken, default: [50256]).first,
      eosTokens: values.tokens(.eosTokens, default: [50256]),
      dtype: values.weightType(.dtype, old: .oldDtype))
  }

  public func json() -> Data {
    let members: KeyValuePairs<CodingKeys, ConfigurationValue?> = [
      .modelType: .text(Self.modelType),
      .architectures: .list([.text(Self.architecture)]),
      .vocabularySize: .integer(vocabularySize),
      .contextLength: .integer(contextLength),
      .oldContextLength: .integer(contextLength),
      .width: .integer(width),
      .layers: .integer(layers),
      .heads: .integer(heads),
      .headWidth: headWidth * heads == width ? nil : .integer(headWidth),
      .hidden: .integer(hidden),
      .activation: .text(activation.rawValue),
      .layerNormEpsilon: .number(layerNormEpsilon),
      .initializerRange: .number(initializerRange),
      .residualDropout: .number(residualDropout),
      .embeddingDropout: .number(embeddingDropout),
      .attentionDropout: .number(attentionDropout),
      .tiesWordEmbeddings: .flag(tiesWordEmbeddings),
      .bosToken: .tokens(bosToken.map { [$0] } ?? []),
      .eosTokens: .tokens(eosTokens),
      .dtype: .text(dtype.rawValue),
      .oldDtype: .text(dtype.rawValue),
    ]
    return ConfigurationValue.object(members).file
  }
}
