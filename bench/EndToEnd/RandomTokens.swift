// What models are trained on where only time and memory count.

import Foundation
import Harness

enum RandomTokens {
  /// Random tokens as a shard: a header of 256 integers, then 16 bits a token.
  static func write(_ count: Int, below vocabulary: Int, in folder: URL) throws -> URL {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    var header = [Int32](repeating: 0, count: 256)
    (header[0], header[1], header[2]) = (20_240_520, 1, Int32(count))
    var data = header.withUnsafeBytes { Data($0) }
    var numbers = RepeatableNumbers()
    let tokens = (0..<count).map { _ in UInt16((numbers.next() >> 33) % UInt64(vocabulary)).littleEndian }
    tokens.withUnsafeBytes { data.append(contentsOf: $0) }
    let url = folder.appendingPathComponent("tokens.bin")
    try data.write(to: url)
    return url
  }
}
