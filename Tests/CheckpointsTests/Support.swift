// What the tests of this folder share.

import Foundation
import KilnKernels
import Testing

@testable import KilnCheckpoints

/// A new folder, which goes with the object.
final class TemporaryFolder: Sendable {
  let url = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-" + UUID().uuidString)

  init() { try? FileManager.default.createDirectory(at: url, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(at: url) }
}

/// The names in a folder, sorted.
func names(in folder: URL) throws -> [String] {
  try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
}

/// The error that `body` throws, which must be a `KilnError`.
func failure(_ body: () throws -> Void) -> KilnError? {
  do {
    try body()
    return nil
  } catch {
    return error as? KilnError
  }
}

/// Bytes that differ from tensor to tensor and from place to place.
func sampleBytes(of tensor: TensorDescription) throws(KilnError) -> [UInt8] {
  let seed = tensor.name.utf8.reduce(7) { ($0 &* 31 &+ Int($1)) & 0xFFFF }
  return (0..<(try tensor.byteCount())).map { UInt8(truncatingIfNeeded: seed &+ $0 &* 37) }
}

/// Gives each tensor its sample bytes, in two pieces.
func writeSample(_ tensor: TensorDescription, to file: AtomicFile) throws(KilnError) {
  let bytes = try sampleBytes(of: tensor)
  let middle = bytes.count / 3
  try file.write(bytes.span.extracting(first: middle).bytes)
  try file.write(bytes.span.extracting(droppingFirst: middle).bytes)
}

func bytes(of tensor: StoredTensor) -> [UInt8] {
  tensor.withBytes { bytes in bytes.withUnsafeBytes { Array($0) } }
}

/// SplitMix64: the same numbers in each run.
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

/// Changes, drops, doubles or inserts a few bytes.
func mutate(_ bytes: [UInt8], with generator: inout SeededGenerator) -> [UInt8] {
  var result = bytes
  for _ in 0..<Int.random(in: 1...3, using: &generator) where !result.isEmpty {
    let place = Int.random(in: 0..<result.count, using: &generator)
    let telling = Array("\"{}[]:,-019eE.\\u \u{0}".utf8)
    switch Int.random(in: 0..<5, using: &generator) {
    case 0: result[place] = UInt8.random(in: .min ... .max, using: &generator)
    case 1: result[place] = telling.randomElement(using: &generator) ?? 0
    case 2: result.remove(at: place)
    case 3: result.insert(telling.randomElement(using: &generator) ?? 0, at: place)
    default: result.insert(contentsOf: result[place..<min(place + 12, result.count)], at: place)
    }
  }
  return result
}
