// Training a byte-level BPE vocabulary on one's own text.

import Foundation
import HeapModule
import KilnKernels

/// Learns merges by count: again and again the pair of neighbours that is most frequent in the text becomes a token
/// (Sennrich et al. 2016, on the bytes of GPT-2's pieces). Of pairs equally frequent, the one with the lower token
/// numbers is first; so equal text gives equal vocabularies.
///
/// Tokens 0 to 255 are the bytes, then come the merges in order, last `<|endoftext|>`.
public struct BPETrainer: Sendable {
  public struct Result: Sendable {
    public var tokenizer: BPETokenizer
    /// False if the text had too few pairs that occur twice; the vocabulary is then smaller than was asked for.
    public var reachedSize: Bool
  }

  public let vocabularySize: Int

  /// - Throws: `argument` if the size does not hold the 256 bytes and the end-of-text token.
  public init(vocabularySize: Int) throws(KilnError) {
    guard vocabularySize >= 257 else {
      throw KilnError(
        .argument, "a vocabulary of \(vocabularySize) tokens is too small for byte-level BPE",
        hint: "It needs at least 257: 256 bytes and <|endoftext|>.")
    }
    guard vocabularySize <= 1 << 20 else {
      throw KilnError(.argument, "a vocabulary of \(vocabularySize) tokens is too large", hint: "At most \(1 << 20).")
    }
    self.vocabularySize = vocabularySize
  }

  /// Trains on UTF-8 text files. `progress` is told the size of the vocabulary now and then.
  public func train(files: [URL], progress: ((Int) -> Void)? = nil) throws(KilnError) -> Result {
    guard !files.isEmpty else { throw KilnError(.argument, "no text to train a tokenizer on") }
    let splitter = try tokenizer(merges: [])
    var words = WordCounts()
    for file in files {
      var reader = try TextReader(file)
      while let text = try reader.next(cutBy: splitter) { words.add(text, splitBy: splitter) }
    }
    var table = PairTable(words)
    var merges: [(left: Int32, right: Int32)] = []
    while merges.count < vocabularySize - 257, let pair = table.mostFrequent() {
      table.merge(pair, into: Int32(256 + merges.count))
      merges.append(pair)
      if merges.count % 100 == 0 { progress?(257 + merges.count) }
    }
    progress?(257 + merges.count)
    return Result(tokenizer: try tokenizer(merges: merges), reachedSize: merges.count == vocabularySize - 257)
  }

  private func tokenizer(merges: [(left: Int32, right: Int32)]) throws(KilnError) -> BPETokenizer {
    try BPETokenizer(json: TrainedVocabulary(merges: merges).json(), name: "trained tokenizer")
  }
}

/// The distinct pieces of a text, and how often each occurs.
private struct WordCounts {
  private(set) var words = ByteStringTable()
  private(set) var counts: [Int] = []

  mutating func add(_ text: [UInt8], splitBy tokenizer: BPETokenizer) {
    tokenizer.added.forEachPart(of: text) { part, token in
      guard token == nil else { return }
      tokenizer.preTokenizer.forEachPiece(of: text, in: part) { bytes, piece in
        let (index, isNew) = words.insert(bytes, piece)
        if isNew { counts.append(1) } else { counts[index] += 1 }
      }
    }
  }
}

/// How often each pair of neighbours occurs, kept up to date while pairs are merged.
private struct PairTable {
  private struct Entry {
    var count = 0
    /// Words that held the pair when it was counted; some may hold it no longer.
    var words: [Int] = []
  }

  private struct Candidate: Comparable {
    var count: Int
    var pair: UInt64

    static func < (a: Candidate, b: Candidate) -> Bool { a.count != b.count ? a.count < b.count : a.pair > b.pair }
  }

  private var words: [[Int32]] = []
  private let counts: [Int]
  private var entries: [UInt64: Entry] = [:]
  /// Counts as they once were: one that is out of date is put back with the count of now.
  private var candidates: Heap<Candidate> = []

  init(_ text: WordCounts) {
    counts = text.counts
    for word in 0..<text.words.count {
      let symbols = text.words[word].map(Int32.init)
      words.append(symbols)
      for (left, right) in zip(symbols, symbols.dropFirst()) { add(BPEModel.pair(left, right), in: word) }
    }
    candidates = Heap(entries.map { Candidate(count: $0.value.count, pair: $0.key) })
  }

  /// The most frequent pair that occurs more than once.
  mutating func mostFrequent() -> (left: Int32, right: Int32)? {
    while let best = candidates.popMax() {
      let count = entries[best.pair]?.count ?? 0
      if count < best.count {
        if count > 1 { candidates.insert(Candidate(count: count, pair: best.pair)) }
      } else if count > 1 {
        return (Int32(truncatingIfNeeded: best.pair >> 32), Int32(truncatingIfNeeded: best.pair))
      }
    }
    return nil
  }

  /// Replaces the pair by `token` in all words, from left to right in each.
  mutating func merge(_ pair: (left: Int32, right: Int32), into token: Int32) {
    guard let entry = entries.removeValue(forKey: BPEModel.pair(pair.left, pair.right)) else { return }
    var changed: Set<UInt64> = []
    var lastWord = -1
    for word in entry.words where word != lastWord {
      lastWord = word
      merge(pair, into: token, word: word, changed: &changed)
    }
    for pair in changed {
      if let count = entries[pair]?.count, count > 1 { candidates.insert(Candidate(count: count, pair: pair)) }
    }
  }

  private mutating func merge(
    _ pair: (left: Int32, right: Int32), into token: Int32, word: Int, changed: inout Set<UInt64>
  ) {
    let old = words[word]
    var new: [Int32] = []
    var index = 0
    while index < old.count {
      if index + 1 < old.count, old[index] == pair.left, old[index + 1] == pair.right {
        new.append(token)
        index += 2
      } else {
        new.append(old[index])
        index += 1
      }
    }
    guard new.count < old.count else { return }
    words[word] = new
    for (left, right) in zip(old, old.dropFirst()) { entries[BPEModel.pair(left, right)]?.count -= counts[word] }
    for (left, right) in zip(new, new.dropFirst()) {
      let key = BPEModel.pair(left, right)
      add(key, in: word, isNewHere: left == token || right == token)
      if left == token || right == token { changed.insert(key) }
    }
  }

  private mutating func add(_ pair: UInt64, in word: Int, isNewHere: Bool = true) {
    entries[pair, default: Entry()].count += counts[word]
    if isNewHere { entries[pair]?.words.append(word) }
  }
}
