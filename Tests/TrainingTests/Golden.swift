import Foundation
import KilnCheckpoints
import KilnGraph
import KilnKernels
import KilnLayers
import KilnTraining
import Testing

/// What PyTorch and transformers computed for one small model: `Tests/Golden/models/<name>`.
struct Golden: Decodable {
  struct Run: Decodable, Sendable, CustomTestStringConvertible {
    var optimizer: String
    var lr: Double
    var weightDecay: Double
    var momentum: Double
    var betas: [Double]
    var eps: Double
    var gradClip: Double
    var batch: Int
    var microBatch: Int
    var loss: [Double]
    var gradNorm: [Double]

    var testDescription: String { "\(optimizer), clip \(gradClip), batch \(batch)/\(microBatch)" }
  }

  struct Generation: Decodable {
    var prompt: [Int32]
    var tokens: [Int32]
  }

  struct Evaluation: Decodable {
    var loss: Double
    var tokens: Int
  }

  var context: Int
  var tokens: [Int32]
  var runs: [Run]
  var accumulation: Run
  var generation: [Generation]
  var eval: Evaluation

  static let names = ["gpt2-tiny", "gpt2-tiny-bf16", "llama-tiny", "llama-rope3-tied"]

  static func folder(_ name: String) -> URL {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Golden/models/\(name)")
  }

  static func load(_ name: String) throws -> Golden {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(Golden.self, from: Data(contentsOf: folder(name).appendingPathComponent("golden.json")))
  }

  /// The tokens as a shard that `--data` takes.
  func writeShard(in folder: URL) throws -> URL {
    var header = [Int32](repeating: 0, count: 256)
    header[0] = 20_240_520
    header[1] = 1
    header[2] = Int32(tokens.count)
    var bytes = header.withUnsafeBytes { Data($0) }
    for token in tokens { withUnsafeBytes(of: UInt16(token).littleEndian) { bytes.append(contentsOf: $0) } }
    let url = folder.appendingPathComponent("tokens.bin")
    try bytes.write(to: url)
    return url
  }
}

/// A folder that is removed when the body returns.
func withTemporaryFolder<R>(_ body: (URL) throws -> R) throws -> R {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-test-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder)
}

/// The floats of a stored tensor.
func floats(_ stored: StoredTensor) -> [Float] {
  stored.withBytes { span in
    span.withUnsafeBytes { bytes in
      (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
    }
  }
}

/// The largest difference, relative to the largest element.
func relativeError(_ values: [Float], _ expected: [Float]) -> Double {
  guard values.count == expected.count else { return .infinity }
  let scale = expected.map { Double(abs($0)) }.max() ?? 0
  let error = zip(values, expected).map { Double(abs($0 - $1)) }.max() ?? 0
  return error.isNaN ? .infinity : error / max(scale, 1e-12)
}
