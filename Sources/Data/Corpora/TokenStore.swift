// Tokens in a row: in memory, or in a mapped file.

import Foundation

/// A run of tokens. Slices share what they were cut from.
struct TokenStore: Sendable {
  private enum Storage: Sendable {
    case memory([Int32])
    /// Little-endian integers of 2 or 4 bytes from an offset on.
    case mapped(Data, offset: Int, width: Int)
  }

  private let storage: Storage
  /// What of the storage is meant.
  private let range: Range<Int>

  var count: Int { range.count }

  /// Bytes that the tokens take.
  var byteCount: Int { if case .mapped(_, _, let width) = storage { width * count } else { 4 * count } }

  init(_ tokens: [Int32]) {
    storage = .memory(tokens)
    range = 0..<tokens.count
  }

  /// `count` tokens of a mapped file; the caller has made sure that the file holds them.
  init(mapped data: Data, offset: Int, width: Int, count: Int) {
    precondition(offset + width * count <= data.count)
    storage = .mapped(data, offset: offset, width: width)
    range = 0..<count
  }

  private init(_ storage: Storage, _ range: Range<Int>) {
    self.storage = storage
    self.range = range
  }

  func slice(_ part: Range<Int>) -> TokenStore {
    TokenStore(storage, range.lowerBound + part.lowerBound..<range.lowerBound + part.upperBound)
  }

  /// Appends the tokens of `part`. Numbers too large for a token become the largest, which every vocabulary refuses.
  func append(_ part: Range<Int>, to result: inout [Int32]) {
    let first = range.lowerBound + part.lowerBound
    precondition(part.lowerBound >= 0 && part.upperBound <= count)
    switch storage {
    case .memory(let tokens): result += tokens[first..<first + part.count]
    case .mapped(let data, let offset, let width):
      data.withUnsafeBytes { bytes in
        for index in first..<first + part.count {
          let place = offset + index * width
          result.append(
            width == 2
              ? Int32(UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt16.self)))
              : Int32(clamping: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt32.self))))
        }
      }
    }
  }
}
