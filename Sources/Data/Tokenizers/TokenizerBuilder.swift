// From the written tokenizer.json to what encodes: every name and number is checked here.

import KilnKernels

/// Checks a tokenizer file and gathers the parts of a `BPETokenizer`.
struct TokenizerBuilder {
  private(set) var model = BPEModel()
  private(set) var preTokenizer = PreTokenizer(steps: [])
  private(set) var added: [AddedToken] = []
  private var tokens: [[UInt8]] = []
  private let name: String

  /// Bounds the size of the tables that a damaged file can ask for.
  private static let tokenLimit = 1 << 22

  init(_ file: TokenizerFile, name: String) throws(KilnError) {
    self.name = name
    try check(file.model)
    try checkNormalizer(file.normalizer)
    guard let component = file.preTokenizer, Self.holdsByteLevel(component) else {
      throw unsupported("no ByteLevel pre-tokenizer (found \(file.preTokenizer?.type ?? "none"))")
    }
    preTokenizer.steps = try steps(of: component)
    try takeVocabulary(file.model.vocabulary)
    try takeMerges(file.model.merges, vocabulary: file.model.vocabulary)
    try takeUnknown(file.model)
    try takeAdded(file.added, vocabulary: file.model.vocabulary)
  }

  /// The usual names of the token that ends a document.
  var endOfText: Int32? {
    for name in ["<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>"] {
      if let token = added.first(where: { $0.content == Array(name.utf8) }) { return token.token }
    }
    return nil
  }

  func flattenedTokens() -> (bytes: [UInt8], ends: [Int]) {
    var bytes: [UInt8] = []
    let ends = tokens.map { token in
      bytes += token
      return bytes.count
    }
    return (bytes, ends)
  }

  // MARK: Kinds

  private func unsupported(_ what: String) -> KilnError {
    KilnError(.unsupported, "\(name): \(what)", hint: "Byte-level BPE of the GPT-2 and Llama-3 type is supported.")
  }

  private func damaged(_ what: String) -> KilnError { KilnError(.format, "\(name): \(what)") }

  private func check(_ model: TokenizerFile.Model) throws(KilnError) {
    guard model.type == "BPE" else { throw unsupported("tokenizer model \(model.type) is not supported") }
    guard model.flags["byte_fallback"] != true else { throw unsupported("byte_fallback is not supported") }
    if let dropout = model.dropout, dropout != 0 { throw unsupported("BPE dropout \(dropout) is not supported") }
    for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
      if let text = model.texts[key], !text.isEmpty { throw unsupported("\(key) \"\(text)\" is not supported") }
    }
  }

  private func checkNormalizer(_ normalizer: TokenizerFile.Component?) throws(KilnError) {
    guard let normalizer else { return }
    guard normalizer.type == "Sequence" else { throw unsupported("normalizer \(normalizer.type) is not supported") }
    for part in normalizer.parts { try checkNormalizer(part) }
  }

  private static func holdsByteLevel(_ component: TokenizerFile.Component) -> Bool {
    component.type == "ByteLevel" || component.parts.contains(where: holdsByteLevel)
  }

  private func steps(of component: TokenizerFile.Component) throws(KilnError) -> [PreTokenizer.Step] {
    switch component.type {
    case "Sequence":
      var steps: [PreTokenizer.Step] = []
      for part in component.parts { steps += try self.steps(of: part) }
      return steps
    case "ByteLevel":
      let prefix: [PreTokenizer.Step] = component.flags["add_prefix_space"] ?? true ? [.prefixSpace] : []
      return prefix + (component.flags["use_regex"] ?? true ? [.pattern(.gpt2)] : [])
    case "Digits": return [.digits(individual: component.flags["individual_digits"] ?? false)]
    case "Split": return [.pattern(try splitPattern(of: component))]
    default: throw unsupported("pre-tokenizer \(component.type) is not supported")
    }
  }

  private func splitPattern(of component: TokenizerFile.Component) throws(KilnError) -> SplitPattern {
    guard component.behavior == "Isolated", component.flags["invert"] != true else {
      throw unsupported("Split with behavior \(component.behavior ?? "none") or inverted is not supported")
    }
    switch component.pattern {
    case .regex(let regex):
      if let pattern = SplitPattern(regex: regex) { return pattern }
      throw unsupported("Split by the pattern \(regex) is not supported")
    case .string(let text): throw unsupported("Split by the string \"\(text)\" is not supported")
    case nil: throw damaged("Split without a pattern")
    }
  }

  // MARK: Tokens

  private func checked(_ id: Int, of content: some Sequence<UInt8>) throws(KilnError) -> Int32 {
    guard (0..<Self.tokenLimit).contains(id) else {
      throw damaged("token \"\(text(content))\" has number \(id), outside 0 to \(Self.tokenLimit - 1)")
    }
    return Int32(id)
  }

  private func text(_ content: some Sequence<UInt8>) -> String { String(decoding: Array(content), as: UTF8.self) }

  private mutating func set(_ bytes: [UInt8], for token: Int32) {
    let missing = Int(token) + 1 - tokens.count
    if missing > 0 { tokens += [[UInt8]](repeating: [], count: missing) }
    tokens[Int(token)] = bytes
  }

  private mutating func takeVocabulary(_ vocabulary: TokenizerFile.Vocabulary) throws(KilnError) {
    guard !vocabulary.ids.isEmpty else { throw damaged("the vocabulary is empty") }
    for (index, id) in vocabulary.ids.enumerated() {
      let content = Array(vocabulary.tokens[index])
      let token = try checked(id, of: content)
      guard id >= tokens.count || tokens[id].isEmpty else {
        throw damaged("token number \(id) occurs twice, the second time for \"\(text(content))\"")
      }
      guard let bytes = ByteAlphabet.bytes(of: content) else {
        set(content, for: token)
        continue
      }
      set(bytes, for: token)
      if bytes.count == 1 { model.byteTokens[Int(bytes[0])] = token }
      if model.pieces.insert(bytes, 0..<bytes.count).isNew { model.pieceTokens.append(token) }
    }
  }

  private mutating func takeMerges(
    _ merges: TokenizerFile.Merges, vocabulary: TokenizerFile.Vocabulary
  ) throws(KilnError) {
    model.merges.reserveCapacity(merges.places.count)
    for (rank, place) in merges.places.enumerated() {
      let whole = place.left.lowerBound..<place.right.upperBound
      guard let left = vocabulary.id(of: merges.bytes, place.left),
        let right = vocabulary.id(of: merges.bytes, place.right), let merged = vocabulary.id(of: merges.bytes, whole)
      else {
        let missing = [place.left, place.right, whole].first { vocabulary.id(of: merges.bytes, $0) == nil } ?? whole
        throw damaged("merge \(rank) needs \"\(text(merges.bytes[missing]))\", which is not in the vocabulary")
      }
      // The vocabulary's numbers were checked when it was taken.
      model.merges[BPEModel.pair(Int32(left), Int32(right))] = BPEModel.Merge(
        rank: Int32(clamping: rank), token: Int32(merged))
    }
  }

  private mutating func takeUnknown(_ file: TokenizerFile.Model) throws(KilnError) {
    model.ignoresMerges = file.flags["ignore_merges"] ?? false
    guard let content = file.texts["unk_token"] else { return }
    guard let id = file.vocabulary.id(of: Array(content.utf8)) else {
      throw damaged("unk_token \"\(content)\" is not in the vocabulary")
    }
    model.unknown = BPEModel.Unknown(token: try checked(id, of: content.utf8), isFused: file.flags["fuse_unk"] ?? false)
  }

  private mutating func takeAdded(
    _ entries: [TokenizerFile.Added], vocabulary: TokenizerFile.Vocabulary
  ) throws(KilnError) {
    for entry in entries {
      let token = try checked(entry.id, of: entry.content)
      if let id = vocabulary.id(of: entry.content), id != entry.id {
        throw damaged("added token \"\(text(entry.content))\" has number \(entry.id), but \(id) in the vocabulary")
      }
      set(entry.content, for: token)
      added.append(
        AddedToken(
          token: token, content: entry.content, stripsLeft: entry.flags.contains("lstrip"),
          stripsRight: entry.flags.contains("rstrip"), isSingleWord: entry.flags.contains("single_word"),
          isNormalized: entry.flags.contains("normalized")))
    }
  }
}
