// What models are trained on where only time and memory count.

import Foundation

enum RandomTokens {
  /// Random tokens as a shard: a header of 256 integers, then 16 bits a token.
  static func write(_ count: Int, below vocabulary: Int, in folder: URL) throws -> URL {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    var header = [Int32](repeating: 0, count: 256)
    (header[0], header[1], header[2]) = (20_240_520, 1, Int32(count))
    var data = header.withUnsafeBytes { Data($0) }
    var state: UInt64 = 1
    let tokens = (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return UInt16((state >> 33) % UInt64(vocabulary)).littleEndian
    }
    tokens.withUnsafeBytes { data.append(contentsOf: $0) }
    let url = folder.appendingPathComponent("tokens.bin")
    try data.write(to: url)
    return url
  }
}
