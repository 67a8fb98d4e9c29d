// Byte-level BPE, as GPT-2 and Llama 3 use it, from a tokenizer.json.

import Foundation
import KilnKernels

/// Byte-level byte pair encoding. Encodes as Hugging Face's `tokenizers` does with `add_special_tokens=False`.
public struct BPETokenizer: Tokenizer {
  let model: BPEModel
  let preTokenizer: PreTokenizer
  let added: AddedTokens
  /// The bytes of all tokens one after another, and where each ends; unused numbers have none.
  private let tokenBytes: [UInt8]
  private let tokenEnds: [Int]
  /// The tokenizer.json it was made from.
  private let source: Data

  public let endOfText: Int32?
  public let fingerprint: String
  public var vocabularySize: Int { tokenEnds.count }

  /// Reads a tokenizer.json, or the one in a folder.
  /// - Throws: `file` if it can't be read, `format` if it is damaged, `unsupported` if it is no byte-level BPE.
  public init(contentsOf url: URL) throws(KilnError) {
    let file =
      (try? url.resourceValues(forKeys: [.isDirectoryKey]))?.isDirectory == true
      ? url.appendingPathComponent("tokenizer.json") : url
    let data: Data
    do { data = try Data(contentsOf: file) } catch {
      throw KilnError(
        .file, "cannot read the tokenizer \(file.path): \(reason(error))",
        hint: "Give a tokenizer.json, a folder that holds one, or `bytes`.")
    }
    try self.init(json: data, name: file.path)
  }

  /// Reads the text of a tokenizer.json; `name` names it in errors.
  public init(json: Data, name: String) throws(KilnError) {
    let bytes = Array(json)
    let parts = try TokenizerBuilder(try TokenizerFile(bytes, name: name), name: name)
    model = parts.model
    preTokenizer = parts.preTokenizer
    added = AddedTokens(parts.added)
    (tokenBytes, tokenEnds) = parts.flattenedTokens()
    endOfText = parts.endOfText
    source = json
    var hash = ContentHash()
    hash.update(bytes)
    fingerprint = "bpe-" + hash.value
  }

  public func encode(_ text: [UInt8]) -> [Int32] {
    let text = UTF8Text.repaired(text)
    let preTokenizer = preTokenizer
    var encoder = PieceEncoder(model: model)
    encoder.tokens.reserveCapacity(text.count / 3)
    added.forEachPart(of: text) { part, token in
      if let token { return encoder.tokens.append(token) }
      preTokenizer.forEachPiece(of: text, in: part) { encoder.append($1, of: $0) }
    }
    return encoder.tokens
  }

  public func decode(_ tokens: [Int32]) -> [UInt8] {
    var bytes: [UInt8] = []
    for token in tokens where tokenEnds.indices.contains(Int(token)) {
      let start = token == 0 ? 0 : tokenEnds[Int(token) - 1]
      bytes += tokenBytes[start..<tokenEnds[Int(token)]]
    }
    return bytes
  }

  /// Cuts between a letter and a space or line break. No piece of the supported patterns goes on from a letter into
  /// whitespace, and none looks back; so the pieces on either side stay the same.
  public func lastCut(in text: [UInt8]) -> Int? {
    guard !added.mayCrossWords else { return nil }
    var index = text.count - 1
    while index > 0 {
      if text[index] == 0x20 || (text[index] == 0x0A && preTokenizer.cutsBeforeLineBreaks),
        let before = UTF8Text.scalar(in: text, before: index), ScalarClass.of(before) == .letter
      {
        return index
      }
      index -= 1
    }
    return nil
  }

  public func save(to directory: URL) throws(KilnError) {
    try write(to: directory.appendingPathComponent("tokenizer.json"))
  }

  /// Writes the tokenizer.json, byte for byte as it was read or trained; a file of that name is replaced as a whole.
  public func write(to file: URL) throws(KilnError) {
    do { try source.write(to: file, options: .atomic) } catch {
      throw KilnError(.file, "cannot write \(file.path): \(reason(error))")
    }
  }
}

/// Encodes the pieces of one text, each distinct one once: most pieces of a text come again.
private struct PieceEncoder {
  let model: BPEModel
  var tokens: [Int32] = []
  private var pieces = ByteStringTable()
  private var pieceTokens: [Int32] = []
  private var ends: [Int] = []

  init(model: BPEModel) { self.model = model }

  mutating func append(_ piece: Range<Int>, of bytes: [UInt8]) {
    let (index, isNew) = pieces.insert(bytes, piece)
    if isNew {
      pieceTokens += model.encode(bytes, in: piece)
      ends.append(pieceTokens.count)
    }
    tokens += pieceTokens[(index == 0 ? 0 : ends[index - 1])..<ends[index]]
  }
}
