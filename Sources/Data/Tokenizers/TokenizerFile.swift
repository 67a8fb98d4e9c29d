// The parts of Hugging Face's tokenizer.json that byte-level BPE needs.

import KilnKernels

/// tokenizer.json as it is written; nothing is judged here but its form. What is absent or null is nil or empty.
struct TokenizerFile {
  var added: [Added] = []
  var normalizer: Component?
  var preTokenizer: Component?
  var model: Model

  struct Added {
    var id: Int
    var content: [UInt8]
    /// Those of `single_word`, `lstrip`, `rstrip`, `normalized`, `special` that are true.
    var flags: Set<String>
  }

  /// A normalizer or pre-tokenizer: the fields of all kinds that are known.
  struct Component {
    var type = ""
    var flags: [String: Bool] = [:]
    var behavior: String?
    var pattern: Pattern?
    var parts: [Component] = []
  }

  enum Pattern {
    case regex(String)
    case string(String)
  }

  struct Model {
    var type = "BPE"
    var flags: [String: Bool] = [:]
    var texts: [String: String] = [:]
    var dropout: Double?
    var vocabulary = Vocabulary()
    var merges = Merges()
  }

  /// Tokens as they are written, and their numbers.
  struct Vocabulary {
    var tokens = ByteStringTable()
    var ids: [Int] = []

    func id(of bytes: [UInt8], _ range: Range<Int>) -> Int? { tokens.find(bytes, range).map { ids[$0] } }
    func id(of bytes: [UInt8]) -> Int? { id(of: bytes, 0..<bytes.count) }
  }

  /// The two parts of each merge, all in one string: `left` and `right` are neighbours there.
  struct Merges {
    var bytes: [UInt8] = []
    var places: [(left: Range<Int>, right: Range<Int>)] = []
  }

  /// Reads the text of a tokenizer.json; `name` names it in errors.
  init(_ text: [UInt8], name: String) throws(KilnError) {
    var reader = JSONReader(text, name: name)
    var file = (added: [Added](), normalizer: Component?.none, preTokenizer: Component?.none, model: Model?.none)
    try reader.object { reader, key throws(KilnError) in
      if reader.null() { return }
      switch key {
      case "added_tokens":
        try reader.array { reader throws(KilnError) in file.added.append(try Added(from: &reader)) }
      case "normalizer": file.normalizer = try Component(from: &reader)
      case "pre_tokenizer": file.preTokenizer = try Component(from: &reader)
      case "model": file.model = try Model(from: &reader)
      default: try reader.skip()
      }
    }
    try reader.finish()
    guard let model = file.model else { throw reader.failure("no \"model\"") }
    (added, normalizer, preTokenizer, self.model) = (file.added, file.normalizer, file.preTokenizer, model)
  }
}

extension TokenizerFile.Added {
  init(from reader: inout JSONReader) throws(KilnError) {
    var entry = (id: Int?.none, content: [UInt8]?.none, flags: Set<String>())
    try reader.object { reader, key throws(KilnError) in
      if reader.null() { return }
      switch key {
      case "id": entry.id = try reader.integer()
      case "content": entry.content = try reader.stringBytes()
      case "single_word", "lstrip", "rstrip", "normalized", "special":
        if try reader.bool() { entry.flags.insert(key) }
      default: try reader.skip()
      }
    }
    guard let id = entry.id, let content = entry.content else {
      throw reader.failure("added token without id or content")
    }
    self.init(id: id, content: content, flags: entry.flags)
  }
}

extension TokenizerFile.Component {
  init(from reader: inout JSONReader) throws(KilnError) {
    var component = Self()
    try reader.object { reader, key throws(KilnError) in
      if reader.null() { return }
      switch key {
      case "type": component.type = try reader.string()
      case "behavior": component.behavior = try reader.string()
      case "add_prefix_space", "use_regex", "invert", "individual_digits": component.flags[key] = try reader.bool()
      case "pattern": component.pattern = try Self.pattern(from: &reader)
      case "pretokenizers", "normalizers":
        try reader.array { reader throws(KilnError) in component.parts.append(try Self(from: &reader)) }
      default: try reader.skip()
      }
    }
    self = component
  }

  /// `{"Regex": "…"}` or `{"String": "…"}`; a normalizer's may be a plain string.
  private static func pattern(from reader: inout JSONReader) throws(KilnError) -> TokenizerFile.Pattern? {
    if reader.isAtString() { return .string(try reader.string()) }
    var pattern: TokenizerFile.Pattern?
    try reader.object { reader, key throws(KilnError) in
      let text = try reader.string()
      pattern = key == "Regex" ? .regex(text) : .string(text)
    }
    return pattern
  }
}

extension TokenizerFile.Model {
  init(from reader: inout JSONReader) throws(KilnError) {
    var model = Self()
    try reader.object { reader, key throws(KilnError) in
      if reader.null() { return }
      switch key {
      case "type": model.type = try reader.string()
      case "dropout": model.dropout = try reader.number()
      case "fuse_unk", "byte_fallback", "ignore_merges": model.flags[key] = try reader.bool()
      case "unk_token", "continuing_subword_prefix", "end_of_word_suffix": model.texts[key] = try reader.string()
      // A model of another type has another vocabulary; its name alone is wanted, for the error.
      case "vocab" where model.type == "BPE": try model.vocabulary.read(from: &reader)
      case "merges" where model.type == "BPE": try model.merges.read(from: &reader)
      default: try reader.skip()
      }
    }
    self = model
  }
}

extension TokenizerFile.Vocabulary {
  fileprivate mutating func read(from reader: inout JSONReader) throws(KilnError) {
    try reader.members { reader, token throws(KilnError) in
      guard tokens.insert(token, 0..<token.count).isNew else {
        throw reader.failure("token \"\(String(decoding: token, as: UTF8.self))\" occurs twice")
      }
      ids.append(try reader.integer())
    }
  }
}

extension TokenizerFile.Merges {
  /// Each merge is `"a b"`, or `["a", "b"]`.
  fileprivate mutating func read(from reader: inout JSONReader) throws(KilnError) {
    try reader.array { reader throws(KilnError) in
      var parts: [ArraySlice<UInt8>] = []
      if reader.isAtString() {
        parts = try reader.stringBytes().split(separator: 0x20, omittingEmptySubsequences: false)
      } else {
        try reader.array { reader throws(KilnError) in parts.append(try reader.stringBytes()[...]) }
      }
      guard parts.count == 2 else { throw reader.failure("a merge must name two tokens") }
      let (start, middle) = (bytes.count, bytes.count + parts[0].count)
      bytes += parts[0]
      bytes += parts[1]
      places.append((start..<middle, middle..<bytes.count))
    }
  }
}
