// What every tokenizer can do, and the simplest one: bytes.

import Foundation
import KilnKernels

/// Turns text into token numbers and back. Equal fingerprints mean equal encodings.
public protocol Tokenizer: Sendable {
  /// One more than the largest token: the least number of rows an embedding needs.
  var vocabularySize: Int { get }

  /// The token that ends a document, where the vocabulary has one.
  var endOfText: Int32? { get }

  /// A stable hash of all that decides the encoding; caches are keyed by it.
  var fingerprint: String { get }

  /// The tokens of UTF-8 text. Ill-formed bytes are read as U+FFFD where the tokenizer works on characters.
  /// No special tokens are added; those that stand in the text are recognised.
  func encode(_ text: [UInt8]) -> [Int32]

  /// The bytes that the tokens stand for; tokens outside the vocabulary stand for none.
  /// A character may be spread over several tokens, so the bytes of a part need not be well-formed UTF-8.
  func decode(_ tokens: [Int32]) -> [UInt8]

  /// The last position `p > 0` in well-formed text at which it may be cut, whatever follows the text:
  /// `encode(text[..<p]) + encode(text[p...] + rest) == encode(text + rest)`. Nil where there is none.
  func lastCut(in text: [UInt8]) -> Int?

  /// Writes the files that describe the tokenizer into an existing folder, as Hugging Face names them.
  func save(to directory: URL) throws(KilnError)
}

extension Tokenizer {
  public func encode(_ text: String) -> [Int32] { encode(Array(text.utf8)) }

  public func decode(_ tokens: some Sequence<Int32>) -> [UInt8] { decode(Array(tokens)) }

  /// The tokens' text; ill-formed UTF-8 is repaired with U+FFFD.
  public func text(of tokens: some Sequence<Int32>) -> String { String(decoding: decode(Array(tokens)), as: UTF8.self) }
}

/// One token a byte: token `i` is byte `i`, 0 to 255. Bytes pass unchanged, ill-formed ones too.
public struct ByteTokenizer: Tokenizer {
  public init() {}

  public var vocabularySize: Int { 256 }
  public var endOfText: Int32? { nil }
  public var fingerprint: String { "bytes" }

  public func encode(_ text: [UInt8]) -> [Int32] { text.map(Int32.init) }
  public func decode(_ tokens: [Int32]) -> [UInt8] { tokens.compactMap { UInt8(exactly: $0) } }
  public func lastCut(in text: [UInt8]) -> Int? { text.isEmpty ? nil : text.count }

  /// Writes nothing: bytes need no files.
  public func save(to directory: URL) throws(KilnError) {}
}
