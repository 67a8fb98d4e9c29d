// The dumps of the reference tokenizers, and scratch folders.

import Foundation

@testable import KilnData

enum Golden {
  static let folder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Golden/tokenizers")

  static let tokenizers = ["gpt2", "llama3", "smollm"]

  static func file(_ name: String) -> URL { folder.appendingPathComponent(name + ".json") }

  static func tokenizer(_ name: String) throws -> BPETokenizer { try BPETokenizer(contentsOf: file(name)) }

  struct Corpus: Decodable {
    var texts: [Data]
    var ids: [String: [[Int32]]]
    var decoded: [String: [Data]]
  }

  static func corpus() throws -> Corpus {
    try JSONDecoder().decode(Corpus.self, from: Data(contentsOf: file("corpus")))
  }
}

/// Runs `body` with a new folder that is removed afterwards.
func withScratchFolder<Result>(_ body: (URL) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-data-\(UUID().uuidString)")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder)
}

/// SplitMix64: the same numbers on every machine.
struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}
