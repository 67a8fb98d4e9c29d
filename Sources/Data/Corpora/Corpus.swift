// The tokens that a model is trained or evaluated on.

import Foundation
import KilnKernels

/// A row of tokens from text files, token shards or memory. Files follow one another without a token between them.
/// Text is tokenised once and kept in a cache; what comes from files is mapped, not read.
public struct Corpus: Sendable {
  private let parts: [TokenStore]
  private let tokenizer: (any Tokenizer)?
  public let count: Int

  /// UTF-8 bytes of the text, for bits per byte; nil where token shards or bare tokens are among it.
  public let byteCount: Int?

  /// `$KILN_CACHE`, else `$XDG_CACHE_HOME/kiln`, else `~/.cache/kiln`.
  public static var standardCache: URL? {
    TokenCache.standardDirectory(environment: ProcessInfo.processInfo.environment)
  }

  /// Files of UTF-8 text, or token shards as llm.c writes them; text is encoded with `tokenizer`.
  /// - Parameter cache: the folder of tokenised texts, made if need be; nil keeps them in memory.
  /// - Throws: `file` for one that is missing, empty, a folder or unreadable, `data` for one that is neither text nor
  ///   tokens, `format` for a damaged shard.
  public init(
    files: [URL], tokenizer: any Tokenizer, cache: URL? = Corpus.standardCache
  ) throws(KilnError) {
    guard !files.isEmpty else { throw KilnError(.argument, "no data files") }
    var parts: [TokenStore] = []
    var byteCount: Int? = 0
    for url in files {
      let file = try InputFile(url)
      if let shard = try TokenShard.open(file) {
        parts.append(shard)
        byteCount = nil
      } else {
        parts.append(try Self.tokens(of: file, tokenizer: tokenizer, cache: cache.map(TokenCache.init)))
        byteCount = byteCount.map { $0 + file.size }
      }
    }
    self.init(parts: parts, tokenizer: tokenizer, byteCount: byteCount)
  }

  /// Tokens that are there already.
  public init(tokens: [Int32]) { self.init(parts: [TokenStore(tokens)], tokenizer: nil, byteCount: nil) }

  /// Bytes that the tokens take, in memory or in a mapped file.
  public var tokenBytes: Int { parts.reduce(0) { $0 + $1.byteCount } }

  private init(parts: [TokenStore], tokenizer: (any Tokenizer)?, byteCount: Int?) {
    self.parts = parts
    self.tokenizer = tokenizer
    self.byteCount = byteCount
    count = parts.reduce(0) { $0 + $1.count }
  }

  private static func tokens(
    of file: InputFile, tokenizer: any Tokenizer, cache: TokenCache?
  ) throws(KilnError) -> TokenStore {
    let encoder = TextEncoder(tokenizer: tokenizer)
    if let cache {
      let entry = TokenCache.Entry(
        contentHash: try file.contentHash(), byteCount: file.size, tokenizer: tokenizer)
      if let cached = cache.open(entry) { return cached }
      let written = try cache.write(entry) { append throws(KilnError) in try encoder.encode(file, append: append) }
      if let written { return written }
    }
    var tokens: [Int32] = []
    try encoder.encode(file) { part in
      tokens += part
      return true
    }
    return TokenStore(tokens)
  }

  /// A copy of the tokens at `range`, which must lie within `0..<count`.
  public subscript(range: Range<Int>) -> [Int32] {
    var tokens: [Int32] = []
    tokens.reserveCapacity(range.count)
    forEachPart(of: range) { store, part in store.append(part, to: &tokens) }
    return tokens
  }

  /// The largest token; nil if there is none.
  public func maximumToken() -> Int32? {
    reduce(in: 0..<count, nil) { largest, tokens in tokens.max().map { max($0, largest ?? $0) } ?? largest }
  }

  /// - Throws: `data` if a token is outside a vocabulary of `size`.
  public func check(vocabularySize size: Int) throws(KilnError) {
    guard let largest = maximumToken(), Int(largest) >= size else { return }
    throw KilnError(
      .data, "the data holds token \(largest), but the model's vocabulary has \(size) tokens",
      hint: "Use the model's own tokenizer, or a larger --vocab-size.")
  }

  /// The first tokens for training and the last `fraction` of them for validation; both share what is mapped.
  /// - Throws: `argument` if `fraction` is not between 0 and 1, `data` if a part would have less than two tokens.
  public func split(fraction: Double) throws(KilnError) -> (training: Corpus, validation: Corpus) {
    guard fraction > 0, fraction < 1 else {
      throw KilnError(.argument, "held-out fraction \(fraction) is not between 0 and 1")
    }
    let cut = count - Int((Double(count) * fraction).rounded())
    guard cut >= 2, count - cut >= 2 else {
      throw KilnError(
        .data, "\(count) tokens are too few to hold out a part of \(fraction)",
        hint: "Give more data, or validation data of its own.")
    }
    let bytes = byteCount.flatMap { byteCount in
      tokenizer.map { tokenizer in
        let held = reduce(in: cut..<count, 0) { $0 + tokenizer.decode($1).count }
        return (training: byteCount - held, validation: held)
      }
    }
    return (slice(0..<cut, byteCount: bytes?.training), slice(cut..<count, byteCount: bytes?.validation))
  }

  private func slice(_ range: Range<Int>, byteCount: Int?) -> Corpus {
    var slices: [TokenStore] = []
    forEachPart(of: range) { store, part in slices.append(store.slice(part)) }
    return Corpus(parts: slices, tokenizer: tokenizer, byteCount: byteCount)
  }

  /// Folds over the tokens, some tens of thousands at a time.
  private func reduce<Result>(
    in range: Range<Int>, _ initial: Result, _ combine: (Result, [Int32]) -> Result
  ) -> Result {
    stride(from: range.lowerBound, to: range.upperBound, by: 1 << 16).reduce(initial) { result, start in
      combine(result, self[start..<min(start + 1 << 16, range.upperBound)])
    }
  }

  /// Calls `body` with each store that holds some of `range`, and what of it.
  private func forEachPart(of range: Range<Int>, _ body: (TokenStore, Range<Int>) -> Void) {
    precondition(range.lowerBound >= 0 && range.upperBound <= count, "tokens \(range) of \(count)")
    var start = 0
    for part in parts {
      let wanted = range.clamped(to: start..<start + part.count)
      if !wanted.isEmpty { body(part, wanted.lowerBound - start..<wanted.upperBound - start) }
      start += part.count
    }
  }
}
