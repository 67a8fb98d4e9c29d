import KilnGraph
import KilnKernels

/// Llama (Touvron et al., arXiv 2302.13971 and 2407.21783): rotary positions, RMS norm before each branch, grouped key
/// heads, SwiGLU.
public struct Llama: LanguageModel {
  public let configuration: ModelConfiguration
  private let config: LlamaConfiguration
  private let tokens: Embedding
  private let blocks: [Block]
  private let finalNorm: Norm
  public let head: Parameter

  /// - Parameter forms: how weights are kept.
  public init(_ config: LlamaConfiguration, forms: WeightForms = .dense) {
    self.config = config
    configuration = .llama(config)
    tokens = Embedding("model.embed_tokens", count: config.vocabularySize, width: config.width)
    blocks = (0..<config.layers).map { Block(config, layer: $0, forms) }
    finalNorm = .rms("model.norm", width: config.width, eps: config.rmsNormEpsilon)
    head =
      config.tiesWordEmbeddings
      ? tokens.table : Parameter("lm_head.weight", [config.vocabularySize, config.width])
  }

  public var parameters: [Parameter] {
    let body = tokens.parameters + blocks.flatMap(\.parameters) + finalNorm.parameters
    return config.tiesWordEmbeddings ? body : body + [head]
  }

  public var units: [Units] { blocks.flatMap(\.units) }

  public func hidden(_ ids: Value, positions: Value, mode: Mode, cache: KVCache?) throws(KilnError) -> Value {
    let graph = ids.graph
    var x = try graph.scope("model.embed_tokens") { () throws(KilnError) in try tokens(ids).droppedOut(mode, site: 0) }
    for block in blocks { x = try block(x, positions: positions, mode: mode, cache: cache) }
    return try graph.scope("model.norm") { () throws(KilnError) in try finalNorm(x) }
  }

  /// Weights N(0, range), biases 0, gains 1.
  public func initialValue(of parameter: Parameter) -> InitialValue {
    if parameter.name.hasSuffix(".bias") { return .constant(0) }
    return parameter.shape.rank == 1 ? .constant(1) : .normal(std: config.initializerRange)
  }
}

/// x + attention(norm(x)), then x + mlp(norm(x)).
private struct Block: Sendable {
  let layer: Int
  let name: String
  let heads: Int
  let kvHeads: Int
  let frequencies: RotaryFrequencies
  let attentionNorm: Norm
  let query: Linear
  let key: Linear
  let value: Linear
  let output: Linear
  let mlpNorm: Norm
  let gate: Linear
  let up: Linear
  let down: Linear
  let units: [Units]

  init(_ config: LlamaConfiguration, layer: Int, _ forms: WeightForms) {
    self.layer = layer
    let name = "model.layers.\(layer)"
    self.name = name
    heads = config.heads
    kvHeads = config.kvHeads
    frequencies = config.rope
    let width = config.width
    let queries = heads * config.headWidth
    let keys = kvHeads * config.headWidth
    func attention(_ part: String, _ inputs: Int, _ outputs: Int, unit: Int? = nil) -> Linear {
      Linear(
        "\(name).self_attn.\(part)", inputs: inputs, outputs: outputs, bias: config.attentionBias, unit: unit,
        forms: forms)
    }
    func mlp(_ part: String, _ inputs: Int, _ outputs: Int, unit: Int? = nil) -> Linear {
      Linear(
        "\(name).mlp.\(part)", inputs: inputs, outputs: outputs, bias: config.mlpBias, unit: unit, forms: forms)
    }
    attentionNorm = .rms("\(name).input_layernorm", width: width, eps: config.rmsNormEpsilon)
    query = attention("q_proj", width, queries)
    key = attention("k_proj", width, keys)
    value = attention("v_proj", width, keys)
    // A key head goes with all query heads that look at it.
    output = attention("o_proj", queries, width, unit: queries / kvHeads)
    mlpNorm = .rms("\(name).post_attention_layernorm", width: width, eps: config.rmsNormEpsilon)
    gate = mlp("gate_proj", width, config.hidden)
    up = mlp("up_proj", width, config.hidden)
    down = mlp("down_proj", config.hidden, width, unit: 1)
    units = [
      Units(kind: .heads, producers: [query, key, value], consumer: output, count: kvHeads),
      Units(kind: .neurons, producers: [gate, up], consumer: down, count: config.hidden),
    ]
  }

  var parameters: [Parameter] {
    let layers: [any Layer] = [attentionNorm, query, key, value, output, mlpNorm, gate, up, down]
    return layers.flatMap(\.parameters)
  }

  func callAsFunction(_ x: Value, positions: Value, mode: Mode, cache: KVCache?) throws(KilnError) -> Value {
    let graph = x.graph
    let attended = try graph.scope(name + ".self_attn") { () throws(KilnError) in
      let normed = try attentionNorm(x)
      let q = try graph.record(Rotate(heads: heads, frequencies), [try query(normed), positions])[0]
      let k = try graph.record(Rotate(heads: kvHeads, frequencies), [try key(normed), positions])[0]
      let v = try value(normed)
      let mixed =
        if let cache {
          try cache.attend(layer: layer, heads: heads, kvHeads: kvHeads, queries: q, keys: (k, nil), values: (v, nil))
        } else {
          try graph.record(Attend(heads: heads, kvHeads: kvHeads, packed: false), [q, k, v])[0]
        }
      return try output(mixed, addedTo: x, mode: mode, site: UInt32(2 * layer + 1))
    }
    return try graph.scope(name + ".mlp") { () throws(KilnError) in
      let normed = try mlpNorm(attended)
      let inner = try graph.record(SwiGLU(), [try gate(normed), try up(normed)])[0]
      return try down(inner, addedTo: attended, mode: mode, site: UInt32(2 * layer + 2))
    }
  }
}
