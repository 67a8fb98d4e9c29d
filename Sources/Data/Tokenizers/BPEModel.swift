// Byte pair encoding proper: a vocabulary of byte strings, and merges by rank.

import HeapModule

/// Encodes one piece of text at a time. Value semantics, immutable after it was built.
struct BPEModel: Sendable {
  struct Merge: Sendable {
    var rank: Int32
    var token: Int32
  }

  /// What stands for bytes that have no token; without it they are left out.
  struct Unknown: Sendable, Equatable {
    var token: Int32
    /// A run of unknown bytes gives one token.
    var isFused: Bool
  }

  /// The token of each byte; -1 where the vocabulary has none.
  var byteTokens = [Int32](repeating: -1, count: 256)
  var merges: [UInt64: Merge] = [:]
  var unknown: Unknown?
  /// A piece that is a token as a whole is taken as such, whatever the merges say.
  var ignoresMerges = false
  /// The whole pieces for `ignoresMerges`, and their tokens.
  var pieces = ByteStringTable()
  var pieceTokens: [Int32] = []

  /// The key of a pair of tokens in `merges`.
  static func pair(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  func encode(_ text: [UInt8], in range: Range<Int>) -> [Int32] {
    if ignoresMerges, let whole = pieces.find(text, range) { return [pieceTokens[whole]] }
    var symbols = symbols(of: text[range])
    merge(&symbols)
    return symbols
  }

  private func symbols(of bytes: ArraySlice<UInt8>) -> [Int32] {
    var symbols: [Int32] = []
    symbols.reserveCapacity(bytes.count)
    var lastIsUnknown = false
    for byte in bytes {
      let token = byteTokens[Int(byte)]
      if token >= 0 {
        symbols.append(token)
      } else if let unknown, !(unknown.isFused && lastIsUnknown) {
        symbols.append(unknown.token)
      }
      lastIsUnknown = token < 0
    }
    return symbols
  }

  /// Merges the pair of lowest rank, the leftmost of several, until no pair merges. Symbols that were merged into
  /// their left neighbour are -1 meanwhile; `next` and `previous` link those that live.
  private func merge(_ symbols: inout [Int32]) {
    guard symbols.count > 1 else { return }
    var next = Array(1...symbols.count)
    var previous = Array(-1..<symbols.count - 1)
    var candidates = Heap<Candidate>()

    func consider(_ left: Int) {
      let right = next[left]
      guard right < symbols.count, let merge = merges[Self.pair(symbols[left], symbols[right])] else { return }
      candidates.insert(
        Candidate(rank: merge.rank, left: left, pair: Self.pair(symbols[left], symbols[right]), token: merge.token))
    }

    for left in 0..<symbols.count - 1 { consider(left) }
    while let best = candidates.popMin() {
      let right = next[best.left]
      guard symbols[best.left] >= 0, right < symbols.count,
        Self.pair(symbols[best.left], symbols[right]) == best.pair
      else { continue }
      symbols[best.left] = best.token
      symbols[right] = -1
      next[best.left] = next[right]
      if next[right] < symbols.count { previous[next[right]] = best.left }
      consider(best.left)
      if previous[best.left] >= 0 { consider(previous[best.left]) }
    }
    symbols.removeAll { $0 < 0 }
  }

  private struct Candidate: Comparable {
    var rank: Int32
    var left: Int
    var pair: UInt64
    var token: Int32

    static func < (a: Candidate, b: Candidate) -> Bool { (a.rank, a.left) < (b.rank, b.left) }
  }
}
