// The recursive-descent parser behind `JSON` (RFC 8259).

import KilnKernels
import OrderedCollections

struct JSONParser {
  let bytes: [UInt8]
  private var position = 0
  private let depthLimit = 64

  init(bytes: [UInt8]) { self.bytes = bytes }

  mutating func parseDocument() throws(KilnError) -> JSON {
    let value = try parseValue(depth: 0)
    skipSpace()
    guard position == bytes.count else { throw failure("unexpected text after the JSON value") }
    return value
  }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private func failure(_ message: String) -> KilnError {
    KilnError(.format, "invalid JSON: \(message) at byte \(position)")
  }

  private mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { position += 1 }
  }

  private mutating func consume(_ byte: Character) -> Bool {
    guard next == byte.asciiValue else { return false }
    position += 1
    return true
  }

  private mutating func expect(_ byte: Character) throws(KilnError) {
    guard consume(byte) else { throw failure("expected '\(byte)'") }
  }

  private mutating func parseValue(depth: Int) throws(KilnError) -> JSON {
    guard depth < depthLimit else { throw failure("nested deeper than \(depthLimit) levels") }
    skipSpace()
    switch next {
    case UInt8(ascii: "{"): return try parseObject(depth: depth)
    case UInt8(ascii: "["): return try parseArray(depth: depth)
    case UInt8(ascii: "\""): return .string(try parseString())
    case UInt8(ascii: "t"): return try parseWord("true", .bool(true))
    case UInt8(ascii: "f"): return try parseWord("false", .bool(false))
    case UInt8(ascii: "n"): return try parseWord("null", .null)
    default: return try parseNumber()
    }
  }

  private mutating func parseWord(_ word: String, _ value: JSON) throws(KilnError) -> JSON {
    guard bytes[position...].starts(with: word.utf8) else { throw failure("unknown word") }
    position += word.utf8.count
    return value
  }

  private mutating func parseObject(depth: Int) throws(KilnError) -> JSON {
    var members: OrderedDictionary<String, JSON> = [:]
    try expect("{")
    skipSpace()
    if consume("}") { return .object(members) }
    repeat {
      skipSpace()
      let key = try parseString()
      skipSpace()
      try expect(":")
      let value = try parseValue(depth: depth + 1)
      guard members.updateValue(value, forKey: key) == nil else { throw failure("duplicate key '\(key)'") }
      skipSpace()
    } while consume(",")
    try expect("}")
    return .object(members)
  }

  private mutating func parseArray(depth: Int) throws(KilnError) -> JSON {
    var elements: [JSON] = []
    try expect("[")
    skipSpace()
    if consume("]") { return .array(elements) }
    repeat {
      elements.append(try parseValue(depth: depth + 1))
      skipSpace()
    } while consume(",")
    try expect("]")
    return .array(elements)
  }

  private mutating func parseString() throws(KilnError) -> String {
    try expect("\"")
    var content: [UInt8] = []
    while let byte = next, byte != UInt8(ascii: "\"") {
      guard byte >= 0x20 else { throw failure("control character in a string") }
      position += 1
      if byte == UInt8(ascii: "\\") {
        content.append(contentsOf: String(try parseEscape()).utf8)
      } else {
        content.append(byte)
      }
    }
    try expect("\"")
    guard let string = String(validating: content, as: UTF8.self) else { throw failure("string is not UTF-8") }
    return string
  }

  private mutating func parseEscape() throws(KilnError) -> Unicode.Scalar {
    guard let byte = next else { throw failure("unfinished escape") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{C}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"): return try parseUnicodeEscape()
    default: throw failure("unknown escape")
    }
  }

  private mutating func parseUnicodeEscape() throws(KilnError) -> Unicode.Scalar {
    let first = try parseHexQuad()
    guard (0xD800..<0xDC00).contains(first) else {
      guard let scalar = Unicode.Scalar(first) else { throw failure("lone surrogate in a string") }
      return scalar
    }
    try expect("\\")
    try expect("u")
    let second = try parseHexQuad()
    guard (0xDC00..<0xE000).contains(second),
      let scalar = Unicode.Scalar(0x10000 + (first - 0xD800) << 10 + (second - 0xDC00))
    else { throw failure("lone surrogate in a string") }
    return scalar
  }

  private mutating func parseHexQuad() throws(KilnError) -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw failure("expected four hexadecimal digits")
      }
      value = value << 4 | UInt32(digit)
      position += 1
    }
    return value
  }

  private mutating func parseNumber() throws(KilnError) -> JSON {
    let start = position
    _ = consume("-")
    if !consume("0") { try parseDigits() }
    let integerEnd = position
    if consume(".") { try parseDigits() }
    if consume("e") || consume("E") {
      if !consume("+") { _ = consume("-") }
      try parseDigits()
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if position == integerEnd, let value = Int(text) { return .integer(value) }
    guard let value = Double(text), value.isFinite else { throw failure("number out of range") }
    return .number(value)
  }

  private mutating func parseDigits() throws(KilnError) {
    let start = position
    while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
    guard position > start else { throw failure("expected a value") }
  }
}
