import KilnGraph
import KilnKernels

/// GPT-2 (Radford et al. 2019): learned positions, layer norm before each branch, GELU.
public struct GPT2: LanguageModel {
  public let configuration: ModelConfiguration
  private let config: GPT2Configuration
  private let tokens: Embedding
  private let positions: Embedding
  private let blocks: [Block]
  private let finalNorm: Norm
  public let head: Parameter

  /// - Parameter forms: how weights are kept.
  public init(_ config: GPT2Configuration, forms: WeightForms = .dense) {
    self.config = config
    configuration = .gpt2(config)
    tokens = Embedding("transformer.wte", count: config.vocabularySize, width: config.width)
    positions = Embedding("transformer.wpe", count: config.contextLength, width: config.width)
    blocks = (0..<config.layers).map { Block(config, layer: $0, forms) }
    finalNorm = .layer("transformer.ln_f", width: config.width, eps: config.layerNormEpsilon)
    head =
      config.tiesWordEmbeddings
      ? tokens.table : Parameter("lm_head.weight", [config.vocabularySize, config.width])
  }

  public var parameters: [Parameter] {
    let body = tokens.parameters + positions.parameters + blocks.flatMap(\.parameters) + finalNorm.parameters
    return config.tiesWordEmbeddings ? body : body + [head]
  }

  public var units: [Units] { blocks.flatMap(\.units) }

  public func hidden(_ ids: Value, positions places: Value, mode: Mode, cache: KVCache?) throws(KilnError) -> Value {
    let graph = ids.graph
    var x = try graph.scope("transformer.wte") { () throws(KilnError) in
      let x = try positions(places, addedTo: try tokens(ids))
      return try x.droppedOut(mode, site: 0)
    }
    for block in blocks { x = try block(x, mode: mode, cache: cache) }
    return try graph.scope("transformer.ln_f") { () throws(KilnError) in try finalNorm(x) }
  }

  /// Weights N(0, range), the projections onto the residual stream divided by sqrt(2 layers), biases 0, gains 1.
  public func initialValue(of parameter: Parameter) -> InitialValue {
    if parameter.name.hasSuffix(".bias") { return .constant(0) }
    if parameter.shape.rank == 1 { return .constant(1) }
    let onResidual = parameter.name.hasSuffix("c_proj.weight")
    return .normal(
      std: onResidual ? config.initializerRange / Double(2 * config.layers).squareRoot() : config.initializerRange)
  }
}

/// x + attention(norm(x)), then x + mlp(norm(x)).
private struct Block: Sendable {
  let layer: Int
  let name: String
  let heads: Int
  let activation: Activation
  let attentionNorm: Norm
  let attentionIn: Linear
  let attentionOut: Linear
  let mlpNorm: Norm
  let mlpIn: Linear
  let mlpOut: Linear
  let units: [Units]

  init(_ config: GPT2Configuration, layer: Int, _ forms: WeightForms) {
    self.layer = layer
    let name = "transformer.h.\(layer)"
    self.name = name
    heads = config.heads
    activation = config.activation.kernel
    let width = config.width
    let attended = heads * config.headWidth
    func linear(_ part: String, _ inputs: Int, _ outputs: Int, parts: Int = 1, unit: Int? = nil) -> Linear {
      Linear(
        "\(name).\(part)", inputs: inputs, outputs: outputs, bias: true, storage: .inputsByOutputs, parts: parts,
        unit: unit, forms: forms)
    }
    attentionNorm = .layer("\(name).ln_1", width: width, eps: config.layerNormEpsilon)
    attentionIn = linear("attn.c_attn", width, 3 * attended, parts: 3)
    attentionOut = linear("attn.c_proj", attended, width, unit: config.headWidth)
    mlpNorm = .layer("\(name).ln_2", width: width, eps: config.layerNormEpsilon)
    mlpIn = linear("mlp.c_fc", width, config.hidden)
    mlpOut = linear("mlp.c_proj", config.hidden, width, unit: 1)
    units = [
      Units(kind: .heads, producers: [attentionIn], consumer: attentionOut, count: heads),
      Units(kind: .neurons, producers: [mlpIn], consumer: mlpOut, count: config.hidden),
    ]
  }

  var parameters: [Parameter] {
    attentionNorm.parameters + attentionIn.parameters + attentionOut.parameters + mlpNorm.parameters
      + mlpIn.parameters + mlpOut.parameters
  }

  func callAsFunction(_ x: Value, mode: Mode, cache: KVCache?) throws(KilnError) -> Value {
    let graph = x.graph
    let attended = try graph.scope(name + ".attn") { () throws(KilnError) in
      let qkv = try attentionIn(try attentionNorm(x))
      let mixed: Value
      if let cache {
        let width = qkv.shape.last / 3
        mixed = try cache.attend(
          layer: layer, heads: heads, kvHeads: heads, queries: qkv, keys: (qkv, width..<2 * width),
          values: (qkv, 2 * width..<3 * width))
      } else {
        mixed = try graph.record(Attend(heads: heads, kvHeads: heads, packed: true), [qkv])[0]
      }
      return try attentionOut(mixed, addedTo: x, mode: mode, site: UInt32(2 * layer + 1))
    }
    return try graph.scope(name + ".mlp") { () throws(KilnError) in
      let inner = try mlpIn(try mlpNorm(attended), activation: activation, mode: mode)
      return try mlpOut(inner, addedTo: attended, mode: mode, site: UInt32(2 * layer + 2))
    }
  }
}

extension GPT2Configuration.Activation {
  var kernel: Activation {
    switch self {
    case .geluNew, .geluTanh: .geluTanh
    case .gelu: .geluErf
    case .relu: .relu
    case .silu: .silu
    }
  }
}
