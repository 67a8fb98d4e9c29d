// Whole models run in a process of their own, as peers do: then the peak of its memory is the model's.

import Foundation
import Harness
import Kiln

/// Kiln in a process of its own.
func ownContender(_ work: Job, on context: Context) -> ProcessContender {
  ProcessContender("kiln", work, isOwn: true) {
    guard let executable = Bundle.main.executablePath else {
      throw BenchFailure("the bench cannot find its own program")
    }
    return try LineProcess(
      "kiln", [executable, "worker", "--threads", String(context.threads), "--device", "\(context.device)"])
  }
}

/// The shape of a GPT-2.
struct ModelShape {
  var layers = 12
  var width = 768
  var heads = 12
  var vocabulary = 50257

  var embedding: Int { vocabulary * width }
  /// Parameters of the blocks and the last norm, without embeddings.
  var blocks: Int { layers * (12 * width * width + 13 * width) + 2 * width }

  /// Floating-point operations of one token of a training step: 6 a weight, the tied embedding being one of the output
  /// projection, and 6 for each of the context's positions and channels (causal attention, forward and backward).
  func flopsOfToken(time: Int) -> Double {
    6 * Double(blocks + embedding) + 6 * Double(layers * width * time)
  }

  func fill(_ work: inout Job) {
    (work.layers, work.width, work.heads, work.vocabulary) = (layers, width, heads, vocabulary)
  }
}

extension ModelShape {
  /// What a job asks for.
  init(_ work: Job) throws {
    guard let layers = work.layers, let width = work.width, let heads = work.heads, let vocabulary = work.vocabulary
    else { throw BenchFailure("\(work.kind) needs layers, width, heads and vocabulary") }
    self.init(layers: layers, width: width, heads: heads, vocabulary: vocabulary)
  }
}

extension Job {
  var precision: Precision { dtype == .bfloat16 ? .bf16 : .fp32 }
}
