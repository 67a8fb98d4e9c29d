// A JSON reader that hands out values as it meets them (RFC 8259). A tokenizer.json holds hundreds of thousands of
// short strings; read this way they go straight into tables.

import KilnKernels

/// Reads one JSON text from front to back. Damage is an error that tells its offset; nesting is bounded.
struct JSONReader {
  private let bytes: [UInt8]
  private let name: String
  private var position = 0
  private var depth = 0
  private static let depthLimit = 64

  /// `name` names the text in errors.
  init(_ bytes: [UInt8], name: String) {
    self.bytes = bytes
    self.name = name
  }

  func failure(_ what: String) -> KilnError {
    KilnError(
      .format, "\(name): \(what) at offset \(position)",
      hint: "Expected a tokenizer.json as Hugging Face's tokenizers writes it.")
  }

  /// Calls `member` with each key; it must read or skip the value.
  mutating func object(
    _ member: (_ reader: inout JSONReader, _ key: String) throws(KilnError) -> Void
  ) throws(KilnError) {
    try members { reader, key throws(KilnError) in try member(&reader, String(decoding: key, as: UTF8.self)) }
  }

  /// As `object`, with keys as bytes.
  mutating func members(
    _ member: (_ reader: inout JSONReader, _ key: [UInt8]) throws(KilnError) -> Void
  ) throws(KilnError) {
    try list(from: UInt8(ascii: "{"), to: UInt8(ascii: "}")) { reader throws(KilnError) in
      let key = try reader.stringBytes()
      try reader.expect(UInt8(ascii: ":"))
      try member(&reader, key)
    }
  }

  /// Calls `element` at each element; it must read or skip it.
  mutating func array(_ element: (_ reader: inout JSONReader) throws(KilnError) -> Void) throws(KilnError) {
    try list(from: UInt8(ascii: "["), to: UInt8(ascii: "]"), element)
  }

  mutating func string() throws(KilnError) -> String { String(decoding: try stringBytes(), as: UTF8.self) }

  mutating func bool() throws(KilnError) -> Bool {
    if takeWord("true") { return true }
    if takeWord("false") { return false }
    throw failure("expected true or false")
  }

  mutating func integer() throws(KilnError) -> Int {
    let text = try numberText()
    guard let value = Int(text) else { throw failure("expected an integer, found \(text)") }
    return value
  }

  mutating func number() throws(KilnError) -> Double {
    let text = try numberText()
    guard let value = Double(text), value.isFinite else { throw failure("expected a number, found \(text)") }
    return value
  }

  /// True, and the value is read, if it is null.
  mutating func null() -> Bool { takeWord("null") }

  /// Whether a string comes next.
  mutating func isAtString() -> Bool { next() == UInt8(ascii: "\"") }

  mutating func skip() throws(KilnError) {
    switch next() {
    case UInt8(ascii: "{"): try members { reader, _ throws(KilnError) in try reader.skip() }
    case UInt8(ascii: "["): try array { reader throws(KilnError) in try reader.skip() }
    case UInt8(ascii: "\""): _ = try stringBytes()
    case UInt8(ascii: "t"), UInt8(ascii: "f"): _ = try bool()
    case UInt8(ascii: "n"): guard null() else { throw failure("expected null") }
    default: _ = try number()
    }
  }

  /// After the last value there may be only white space.
  mutating func finish() throws(KilnError) {
    guard next() == nil else { throw failure("unexpected text after the JSON value") }
  }

  /// A string's UTF-8 bytes, escapes resolved.
  mutating func stringBytes() throws(KilnError) -> [UInt8] {
    try expect(UInt8(ascii: "\""))
    let start = position
    while position < bytes.count, bytes[position] != UInt8(ascii: "\""), bytes[position] != UInt8(ascii: "\\"),
      bytes[position] >= 0x20
    { position += 1 }
    var content = Array(bytes[start..<position])
    while position < bytes.count, bytes[position] != UInt8(ascii: "\"") {
      guard bytes[position] >= 0x20 else { throw failure("control character in a string") }
      if bytes[position] == UInt8(ascii: "\\") {
        position += 1
        content += String(try escape()).utf8
      } else {
        content.append(bytes[position])
        position += 1
      }
    }
    try expect(UInt8(ascii: "\""))
    guard UTF8Text.firstIllFormed(in: content, from: 0) == content.count else { throw failure("string is not UTF-8") }
    return content
  }

  // MARK: Characters

  private mutating func list(
    from open: UInt8, to close: UInt8, _ item: (inout JSONReader) throws(KilnError) -> Void
  ) throws(KilnError) {
    guard depth < Self.depthLimit else { throw failure("nested deeper than \(Self.depthLimit) levels") }
    depth += 1
    defer { depth -= 1 }
    try expect(open)
    if take(close) { return }
    repeat { try item(&self) } while take(UInt8(ascii: ","))
    try expect(close)
  }

  /// The next byte that is not white space, left where it is.
  private mutating func next() -> UInt8? {
    while position < bytes.count {
      let byte = bytes[position]
      guard byte == 0x20 || (0x09...0x0D).contains(byte) else { return byte }
      position += 1
    }
    return nil
  }

  private mutating func take(_ byte: UInt8) -> Bool {
    guard next() == byte else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ byte: UInt8) throws(KilnError) {
    guard take(byte) else { throw failure("expected \(Character(Unicode.Scalar(byte)))") }
  }

  private mutating func takeWord(_ word: String) -> Bool {
    _ = next()
    guard bytes[position...].starts(with: word.utf8) else { return false }
    position += word.utf8.count
    return true
  }

  private mutating func numberText() throws(KilnError) -> String {
    _ = next()
    let start = position
    while position < bytes.count, Self.isOfNumber(bytes[position]) { position += 1 }
    guard position > start else { throw failure("expected a number") }
    return String(decoding: bytes[start..<position], as: UTF8.self)
  }

  private static func isOfNumber(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."): true
    case UInt8(ascii: "+"), UInt8(ascii: "e"), UInt8(ascii: "E"): true
    default: false
    }
  }

  private mutating func escape() throws(KilnError) -> Unicode.Scalar {
    guard position < bytes.count else { throw failure("unfinished escape") }
    let byte = bytes[position]
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"): return try unicodeEscape()
    default: throw failure("unknown escape")
    }
  }

  private mutating func unicodeEscape() throws(KilnError) -> Unicode.Scalar {
    var units = [try hexadecimalUnit()]
    if UTF16.isLeadSurrogate(units[0]), bytes[position...].starts(with: "\\u".utf8) {
      position += 2
      units.append(try hexadecimalUnit())
    }
    var decoder = UTF16()
    var iterator = units.makeIterator()
    guard case .scalarValue(let scalar) = decoder.decode(&iterator), UTF16.width(scalar) == units.count else {
      throw failure("lone surrogate in a string")
    }
    return scalar
  }

  private mutating func hexadecimalUnit() throws(KilnError) -> UInt16 {
    let digits = bytes[position...].prefix(4)
    guard digits.count == 4, digits.allSatisfy({ Character(Unicode.Scalar($0)).isHexDigit }),
      let unit = UInt16(String(decoding: digits, as: UTF8.self), radix: 16)
    else { throw failure("expected four hexadecimal digits") }
    position += 4
    return unit
  }
}
