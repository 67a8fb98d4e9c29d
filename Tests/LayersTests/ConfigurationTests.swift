// Model configurations: what transformers writes is read, what is written transformers reads, and what would change
// results silently is refused.

import Foundation
import KilnKernels
import Testing

@testable import KilnLayers

/// The error that reading a configuration gives.
private func failure(reading json: String) -> KilnError? {
  do {
    _ = try ModelConfiguration(json: Data(json.utf8))
    return nil
  } catch {
    return error
  }
}

@Suite struct GPT2ConfigurationTests {
  /// As transformers 5.24 writes it.
  static let written = """
    {
      "activation_function": "gelu_new",
      "add_cross_attention": false,
      "architectures": ["GPT2LMHeadModel"],
      "attn_pdrop": 0.0,
      "bos_token_id": 50256,
      "dtype": "bfloat16",
      "embd_pdrop": 0.1,
      "eos_token_id": 50256,
      "initializer_range": 0.02,
      "layer_norm_epsilon": 1e-05,
      "model_type": "gpt2",
      "n_embd": 32,
      "n_head": 4,
      "n_inner": null,
      "n_layer": 2,
      "n_positions": 64,
      "pad_token_id": null,
      "reorder_and_upcast_attn": false,
      "resid_pdrop": 0.1,
      "scale_attn_by_inverse_layer_idx": false,
      "scale_attn_weights": true,
      "summary_activation": null,
      "summary_first_dropout": 0.1,
      "summary_proj_to_labels": true,
      "summary_type": "cls_index",
      "summary_use_proj": true,
      "tie_word_embeddings": true,
      "transformers_version": "5.24.0",
      "use_cache": true,
      "vocab_size": 97
    }
    """

  @Test func readsTransformersFile() throws {
    let expected = try GPT2Configuration(
      vocabularySize: 97, contextLength: 64, width: 32, layers: 2, heads: 4, attentionDropout: 0, bosToken: 50256,
      eosTokens: [50256], dtype: .bfloat16)
    let configuration = try ModelConfiguration(json: Data(Self.written.utf8))
    #expect(configuration == .gpt2(expected))
    #expect(expected.hidden == 128 && expected.headWidth == 8)
    #expect(configuration.parameterCount == 30624)  // sum of numel of transformers' own model
  }

  @Test func readsOldAndSparseFiles() throws {
    let old = #"{"model_type":"gpt2","n_ctx":32,"n_inner":40,"torch_dtype":"float16","activation_function":"relu"}"#
    let configuration = try GPT2Configuration(json: Data(old.utf8))
    #expect(configuration.contextLength == 32 && configuration.hidden == 40 && configuration.width == 768)
    #expect(configuration.dtype == .float16 && configuration.activation == .relu)
    #expect(configuration.tiesWordEmbeddings)
  }

  @Test func theDefaultIsTheSmallestGPT2() throws {
    #expect(try GPT2Configuration().parameterCount == 124_439_808)
  }

  @Test func readsWhatItWrites() throws {
    let configuration = try GPT2Configuration(
      vocabularySize: 256, contextLength: 16, width: 12, layers: 3, heads: 2, hidden: 20, activation: .geluTanh,
      layerNormEpsilon: 1e-6, initializerRange: 0.01, residualDropout: 0, embeddingDropout: 0.2, attentionDropout: 0.3,
      tiesWordEmbeddings: false, bosToken: 1, eosTokens: [2, 3], dtype: .float16)
    #expect(try ModelConfiguration(json: configuration.json()) == .gpt2(configuration))
    let bare = try GPT2Configuration()
    #expect(try GPT2Configuration(json: bare.json()) == bare)
  }

  /// A change to the file above, and a word of the message that it must give.
  @Test(arguments: [
    (#""n_embd": 32"#, #""n_embd": 30"#, "n_embd = 30"), (#""n_embd": 32"#, #""n_embd": 0"#, "n_embd"),
    (#""n_embd": 32"#, #""n_embd": -32"#, "n_embd"), (#""n_embd": 32"#, #""n_embd": 32.5"#, "n_embd"),
    (#""n_embd": 32"#, #""n_embd": "32""#, "n_embd"), (#""n_embd": 32"#, #""n_embd": 99999999999999999999"#, "n_embd"),
    (#""n_head": 4"#, #""n_head": 0"#, "n_head"), (#""n_layer": 2"#, #""n_layer": 9223372036854775807"#, "n_layer"),
    (#""n_inner": null"#, #""n_inner": 0"#, "n_inner"), (#""vocab_size": 97"#, #""vocab_size": -1"#, "vocab_size"),
    ("1e-05", "0", "layer_norm_epsilon"), ("\"attn_pdrop\": 0.0", "\"attn_pdrop\": 1.0", "attn_pdrop"),
    ("gelu_new", "mish", "'mish'"), ("bfloat16", "int8", "'int8'"),
    (#""model_type": "gpt2""#, #""model_type": "opt""#, "'opt'"),
    (#"inverse_layer_idx": false"#, #"inverse_layer_idx": true"#, "scale_attn_by_inverse_layer_idx"),
    (#"upcast_attn": false"#, #"upcast_attn": true"#, "reorder_and_upcast_attn"),
    (#"attn_weights": true"#, #"attn_weights": false"#, "scale_attn_weights"),
    (#"cross_attention": false"#, #"cross_attention": true"#, "add_cross_attention"),
    (#""pad_token_id": null"#, #""quantization_config": {"bits": 4}"#, "quantization_config"),
  ]) func refuses(part: String, replacement: String, word: String) {
    let json = Self.written.replacingOccurrences(of: part, with: replacement)
    let message = failure(reading: json)?.message ?? "accepted"
    #expect(json != Self.written && message.contains(word) && message.hasPrefix("config.json"), "\(message)")
  }
}

@Suite struct LlamaConfigurationTests {
  /// As transformers 5.24 writes it.
  static let written = """
    {
      "architectures": ["LlamaForCausalLM"],
      "attention_bias": false,
      "attention_dropout": 0.0,
      "bos_token_id": 1,
      "dtype": "bfloat16",
      "eos_token_id": [2, 3],
      "head_dim": 8,
      "hidden_act": "silu",
      "hidden_size": 32,
      "initializer_range": 0.02,
      "intermediate_size": 48,
      "max_position_embeddings": 128,
      "mlp_bias": false,
      "model_type": "llama",
      "num_attention_heads": 4,
      "num_hidden_layers": 2,
      "num_key_value_heads": 2,
      "pad_token_id": null,
      "pretraining_tp": 1,
      "rms_norm_eps": 1e-06,
      "rope_parameters": {
        "factor": 8.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 64,
        "rope_theta": 500000.0,
        "rope_type": "llama3"
      },
      "tie_word_embeddings": false,
      "transformers_version": "5.24.0",
      "use_cache": true,
      "vocab_size": 97
    }
    """

  private static let llama3 = RotaryFrequencies(
    base: 500_000,
    scaling: .llama3(factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: 64))

  @Test func readsTransformersFile() throws {
    let expected = try LlamaConfiguration(
      vocabularySize: 97, contextLength: 128, width: 32, hidden: 48, layers: 2, heads: 4, kvHeads: 2,
      rope: Self.llama3, bosToken: 1, eosTokens: [2, 3], dtype: .bfloat16)
    let configuration = try ModelConfiguration(json: Data(Self.written.utf8))
    #expect(configuration == .llama(expected))
    #expect(expected.headWidth == 8 && expected.kvHeads == 2)
    #expect(configuration.parameterCount == 21728)  // total_parameters of transformers' own index
  }

  @Test func theDefaultIsLlama7B() throws {
    #expect(try LlamaConfiguration().parameterCount == 6_738_415_616)
  }

  /// The same rotary embeddings under the keys of several versions.
  @Test(arguments: [
    (
      #""rope_theta":500000.0,"rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,"#
        + #""high_freq_factor":4.0,"original_max_position_embeddings":64}"#,
      llama3
    ),
    (#""rope_theta":1e4,"rope_scaling":{"type":"linear","factor":2}"#, .init(scaling: .linear(factor: 2))),
    (#""rope_theta":5e5,"rope_scaling":null"#, .init(base: 5e5)), (#""use_cache":true"#, .init()),
    (#""rope_parameters":{"rope_type":"default"},"rope_theta":7.0"#, .init(base: 7)),
    (#""rope_parameters":{"rope_type":"default","rope_theta":8.0,"partial_rotary_factor":1.0}"#, .init(base: 8)),
  ]) func readsRope(keys: String, rope: RotaryFrequencies) throws {
    let json =
      #"{"architectures":["LlamaForCausalLM"],"torch_dtype":"float16","num_key_value_heads":null,"# + keys + "}"
    guard case .llama(let configuration) = try ModelConfiguration(json: Data(json.utf8)) else {
      Issue.record("not read as a Llama model")
      return
    }
    #expect(configuration.rope == rope)
    #expect(configuration.kvHeads == 32 && configuration.headWidth == 128 && configuration.dtype == .float16)
  }

  @Test func writesRealNumbersWithAFraction() throws {
    let configuration = try LlamaConfiguration(rope: .init(base: 10000, scaling: .linear(factor: 2)))
    let json = String(decoding: configuration.json(), as: UTF8.self)
    #expect(json.contains("\"rope_theta\": 10000.0") && json.contains("\"factor\": 2.0"))
    #expect(json.contains("\"hidden_size\": 4096,"))
  }

  /// Versions before llama3 scaling refuse any other keys.
  @Test func writesLinearScalingAsOldVersionsDemand() throws {
    let configuration = try LlamaConfiguration(rope: .init(base: 7, scaling: .linear(factor: 2)))
    let object = try #require(try JSONSerialization.jsonObject(with: configuration.json()) as? [String: Any])
    let scaling = try #require(object["rope_scaling"] as? [String: Any])
    #expect(scaling.count == 2 && scaling["type"] as? String == "linear" && scaling["factor"] as? Double == 2)
    #expect(object["rope_theta"] as? Double == 7)
  }

  @Test func withoutHeadWidthTheHeadsDivideTheWidth() {
    let error = failure(reading: #"{"model_type":"llama","hidden_size":30,"num_attention_heads":4}"#)
    #expect(error?.message == "config.json: hidden_size = 30 is not a multiple of num_attention_heads = 4")
  }

  @Test func readsWhatItWrites() throws {
    for rope in [RotaryFrequencies(), .init(base: 100, scaling: .linear(factor: 4)), Self.llama3] {
      let configuration = try LlamaConfiguration(
        vocabularySize: 100, contextLength: 50, width: 24, hidden: 30, layers: 1, heads: 6, kvHeads: 3, headWidth: 10,
        rmsNormEpsilon: 1e-5, rope: rope, attentionBias: true, mlpBias: true, attentionDropout: 0.1,
        initializerRange: 0.1, tiesWordEmbeddings: true, bosToken: nil, eosTokens: [7], dtype: .float32)
      #expect(try ModelConfiguration(json: configuration.json()) == .llama(configuration))
    }
  }

  @Test(arguments: [
    (#""num_key_value_heads": 2"#, #""num_key_value_heads": 3"#, "num_key_value_heads = 3"),
    (#""num_key_value_heads": 2"#, #""num_key_value_heads": 0"#, "num_key_value_heads"),
    (#""head_dim": 8"#, #""head_dim": 7"#, "even"),
    (#""head_dim": 8"#, #""head_dim": 4611686018427387904"#, "head_dim"),
    (#""hidden_size": 32"#, #""hidden_size": 0"#, "hidden_size"),
    ("\"silu\"", "\"gelu\"", "'gelu'"), ("1e-06", "-1e-06", "rms_norm_eps"), ("\"llama3\"", "\"yarn\"", "'yarn'"),
    (#""factor": 8.0,"#, "", "'factor' is missing"), (#""factor": 8.0"#, #""factor": 0"#, "factor"),
    (#""high_freq_factor": 4.0"#, #""high_freq_factor": 1.0"#, "high_freq_factor"),
    (#""rope_theta": 500000.0"#, #""rope_theta": 500000.0, "partial_rotary_factor": 0.5"#, "partial_rotary_factor"),
    (#""use_cache": true"#, #""partial_rotary_factor": 0.25"#, "partial_rotary_factor"),
    (#""use_cache": true"#, #""sliding_window": 4096"#, "sliding_window"),
    (#""mlp_bias": false"#, #""mlp_bias": 0.5"#, "mlp_bias"),
    (#""model_type": "llama""#, #""model_type": "qwen2""#, "'qwen2'"),
  ]) func refuses(part: String, replacement: String, word: String) {
    let json = Self.written.replacingOccurrences(of: part, with: replacement)
    let message = failure(reading: json)?.message ?? "accepted"
    #expect(json != Self.written && message.contains(word) && message.hasPrefix("config.json"), "\(message)")
  }
}

@Suite struct ModelConfigurationTests {
  @Test(arguments: ["", "[]", "{", "3", "{\"model_type\":3}", "{}", "{\"model_type\":\"\"}", "\u{0}"])
  func refusesOtherFiles(json: String) {
    #expect(failure(reading: json)?.message.hasPrefix("config.json: ") == true)
  }

  @Test func namesTheSupportedTypes() {
    #expect(failure(reading: #"{"model_type":"bert"}"#)?.hint == "supported are gpt2 and llama")
  }

  /// Whatever the bytes, the file is refused or its sizes are sound.
  @Test func mutatedFilesAreRefusedOrSound() {
    var generator = SeededGenerator(state: 3)
    let telling = Array("\"{}[]:,-019eE.ntf ".utf8)
    var refused = 0
    for round in 0..<3000 {
      var bytes = Array((round % 2 == 0 ? GPT2ConfigurationTests.written : LlamaConfigurationTests.written).utf8)
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        if Bool.random(using: &generator) {
          bytes[place] = telling.randomElement(using: &generator) ?? 0
        } else {
          bytes.insert(telling.randomElement(using: &generator) ?? 0, at: place)
        }
      }
      do {
        let model = try ModelConfiguration(json: Data(bytes))
        #expect(model.parameterCount > 0 && model.heads % model.kvHeads == 0 && model.headWidth > 0)
      } catch {
        refused += 1
        #expect(error.message.hasPrefix("config.json"))
      }
    }
    #expect(refused > 500 && refused < 3000)
  }
}

/// SplitMix64: the same numbers in each run.
private struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}
