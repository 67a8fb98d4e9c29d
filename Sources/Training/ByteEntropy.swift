// What a model must beat: the entropy of a text's byte frequencies.

import Foundation
import KilnData

extension Corpus {
  /// Bits per byte of a code that knows only how often each byte occurs: -sum p log2 p over the bytes of the text. Nil
  /// where the tokens are no text.
  public func byteEntropy(decodedBy tokenizer: any Tokenizer) -> Double? {
    guard byteCount != nil, let largest = maximumToken() else { return nil }
    var tokenCounts = [Int](repeating: 0, count: Int(largest) + 1)
    for start in stride(from: 0, to: count, by: 1 << 16) {
      for token in self[start..<min(start + (1 << 16), count)] { tokenCounts[Int(token)] += 1 }
    }
    var byteCounts = [Int](repeating: 0, count: 256)
    for (token, count) in tokenCounts.enumerated() where count > 0 {
      for byte in tokenizer.decode([Int32(token)]) { byteCounts[Int(byte)] += count }
    }
    let total = Double(byteCounts.reduce(0, +))
    return byteCounts.filter { $0 > 0 }.reduce(0) { sum, count in
      let p = Double(count) / total
      return sum - p * log2(p)
    }
  }
}
