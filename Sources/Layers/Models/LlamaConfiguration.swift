// The configuration of Llama models.

import Foundation
import KilnKernels

/// The shape and the constants of a Llama model. The values that are omitted are those of transformers.
public struct LlamaConfiguration: TransformerConfiguration {
  public static let modelType = "llama"
  public static let architecture = "LlamaForCausalLM"

  public let vocabularySize: Int
  public let contextLength: Int
  public let width: Int
  public private(set) var hidden: Int
  public let layers: Int
  public private(set) var heads: Int
  public private(set) var kvHeads: Int
  public let headWidth: Int
  public let rmsNormEpsilon: Double
  public let rope: RotaryFrequencies
  /// Whether the projections of the attention have biases.
  public let attentionBias: Bool
  /// Whether the projections of the feed-forward block have biases.
  public let mlpBias: Bool
  public let attentionDropout: Double
  public let initializerRange: Double
  public let tiesWordEmbeddings: Bool
  /// The token that begins a text.
  public let bosToken: Int?
  /// The tokens that end a text.
  public let eosTokens: [Int]
  /// The type of the weights in the model's files.
  public var dtype: DType

  public var parameterCount: Int {
    let queries = heads * headWidth
    let keys = kvHeads * headWidth
    let attention = 2 * width * (queries + keys) + (attentionBias ? queries + 2 * keys + width : 0)
    let feedForward = 3 * width * hidden + (mlpBias ? 2 * hidden + width : 0)
    let embeddings = vocabularySize * (tiesWordEmbeddings ? 1 : 2) * width
    return embeddings + layers * (attention + feedForward + 2 * width) + width
  }

  /// `kvHeads` are as many as `heads`, and `headWidth` is `width / heads`, unless they are given. An impossible shape
  /// is an error.
  public init(
    vocabularySize: Int = 32000, contextLength: Int = 2048, width: Int = 4096, hidden: Int = 11008, layers: Int = 32,
    heads: Int = 32, kvHeads: Int? = nil, headWidth: Int? = nil, rmsNormEpsilon: Double = 1e-6,
    rope: RotaryFrequencies = RotaryFrequencies(),
    attentionBias: Bool = false, mlpBias: Bool = false, attentionDropout: Double = 0, initializerRange: Double = 0.02,
    tiesWordEmbeddings: Bool = false, bosToken: Int? = nil, eosTokens: [Int] = [], dtype: DType = .float32
  ) throws(KilnError) {
    let kvHeads = kvHeads ?? heads
    try checkSizes([
      "vocab_size": vocabularySize, "max_position_embeddings": contextLength, "hidden_size": width,
      "intermediate_size": hidden, "num_attention_heads": heads, "num_key_value_heads": kvHeads,
    ])
    try checkSizes(["num_hidden_layers": layers], upTo: 1 << 14)
    guard heads % kvHeads == 0 else {
      throw KilnError(.argument, "num_attention_heads = \(heads) is not a multiple of num_key_value_heads = \(kvHeads)")
    }
    guard headWidth != nil || width % heads == 0 else {
      throw KilnError(.argument, "hidden_size = \(width) is not a multiple of num_attention_heads = \(heads)")
    }
    let headWidth = headWidth ?? width / heads
    try checkSizes(["head_dim": headWidth, "num_attention_heads * head_dim": heads &* headWidth])
    guard headWidth % 2 == 0 else {
      throw KilnError(.argument, "head_dim must be even for rotary embeddings, but is \(headWidth)")
    }
    try checkPositive(["rms_norm_eps": rmsNormEpsilon, "initializer_range": initializerRange])
    try checkProbabilities(["attention_dropout": attentionDropout])
    try rope.check()
    self.vocabularySize = vocabularySize
    self.contextLength = contextLength
    self.width = width
    self.hidden = hidden
    self.layers = layers
    self.heads = heads
    self.kvHeads = kvHeads
    self.headWidth = headWidth
    self.rmsNormEpsilon = rmsNormEpsilon
    self.rope = rope
    self.attentionBias = attentionBias
    self.mlpBias = mlpBias
    self.attentionDropout = attentionDropout
    self.initializerRange = initializerRange
    self.tiesWordEmbeddings = tiesWordEmbeddings
    self.bosToken = bosToken
    self.eosTokens = eosTokens
    self.dtype = dtype
  }
}

extension LlamaConfiguration {
  public func keeping(_ count: Int, of kind: Units.Kind) -> Self {
    var result = self
    switch kind {
    case .heads: (result.heads, result.kvHeads) = (count * (heads / kvHeads), count)
    case .neurons: result.hidden = count
    }
    return result
  }

  private enum CodingKeys: String, CodingKey {
    case modelType = "model_type"
    case architectures
    case vocabularySize = "vocab_size"
    case contextLength = "max_position_embeddings"
    case width = "hidden_size"
    case hidden = "intermediate_size"
    case layers = "num_hidden_layers"
    case heads = "num_attention_heads"
    case kvHeads = "num_key_value_heads"
    case headWidth = "head_dim"
    case activation = "hidden_act"
    case rmsNormEpsilon = "rms_norm_eps"
    case rope = "rope_parameters"
    case oldRopeTheta = "rope_theta"
    case oldRopeScaling = "rope_scaling"
    case attentionBias = "attention_bias"
    case mlpBias = "mlp_bias"
    case attentionDropout = "attention_dropout"
    case initializerRange = "initializer_range"
    case tiesWordEmbeddings = "tie_word_embeddings"
    case bosToken = "bos_token_id"
    case eosTokens = "eos_token_id"
    case dtype
    case oldDtype = "torch_dtype"
    case slidingWindow = "sliding_window"
    case partialRotaryFactor = "partial_rotary_factor"
    case quantization = "quantization_config"
  }

  public init(from decoder: any Decoder) throws {
    let values = try decoder.container(keyedBy: CodingKeys.self)
    try values.requireAbsent(.slidingWindow)
    try values.requireAbsent(.quantization)
    let activation = try values.value(.activation, default: "silu")
    guard activation == "silu" || activation == "swish" else {
      throw KilnError(.unsupported, "hidden_act '\(activation)' is not supported", hint: "supported: silu")
    }
    try self.init(
      vocabularySize: values.value(.vocabularySize, default: 32000),
      contextLength: values.value(.contextLength, default: 2048),
      width: values.value(.width, default: 4096),
      hidden: values.value(.hidden, default: 11008),
      layers: values.value(.layers, default: 32),
      heads: values.value(.heads, default: 32),
      kvHeads: values.optional(.kvHeads),
      headWidth: values.optional(.headWidth),
      rmsNormEpsilon: values.value(.rmsNormEpsilon, default: 1e-6),
      rope: values.rope(
        .rope, oldTheta: .oldRopeTheta, oldScaling: .oldRopeScaling, partialFactor: .partialRotaryFactor,
        contextLength: .contextLength),
      attentionBias: values.value(.attentionBias, default: false),
      mlpBias: values.value(.mlpBias, default: false),
      attentionDropout: values.value(.attentionDropout, default: 0),
      initializerRange: values.value(.initializerRange, default: 0.02),
      tiesWordEmbeddings: values.value(.tiesWordEmbeddings, default: false),
      bosToken: values.tokens(.bosToken, default: [1]).first,
      eosTokens: values.tokens(.eosTokens, default: [2]),
      dtype: values.weightType(.dtype, old: .oldDtype))
  }

  public func json() -> Data {
    let members: KeyValuePairs<CodingKeys, ConfigurationValue?> = [
      .modelType: .text(Self.modelType),
      .architectures: .list([.text(Self.architecture)]),
      .vocabularySize: .integer(vocabularySize),
      .contextLength: .integer(contextLength),
      .width: .integer(width),
      .hidden: .integer(hidden),
      .layers: .integer(layers),
      .heads: .integer(heads),
      .kvHeads: .integer(kvHeads),
      .headWidth: .integer(headWidth),
      .activation: .text("silu"),
      .rmsNormEpsilon: .number(rmsNormEpsilon),
      .rope: rope.json,
      .oldRopeTheta: .number(rope.base),
      .oldRopeScaling: rope.oldJSON,
      .attentionBias: .flag(attentionBias),
      .mlpBias: .flag(mlpBias),
      .attentionDropout: .number(attentionDropout),
      .initializerRange: .number(initializerRange),
      .tiesWordEmbeddings: .flag(tiesWordEmbeddings),
      .bosToken: .tokens(bosToken.map { [$0] } ?? []),
      .eosTokens: .tokens(eosTokens),
      .dtype: .text(dtype.rawValue),
      .oldDtype: .text(dtype.rawValue),
    ]
    return ConfigurationValue.object(members).file
  }
}
