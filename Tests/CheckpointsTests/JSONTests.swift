// The strict JSON reader.

import KilnKernels
import Testing

@testable import KilnCheckpoints

@Suite struct JSONTests {
  @Test func readsEveryKindOfValue() throws {
    let text = #" {"a": [1, -2, 0.5, 1e2, true, false, null], "b": {"z": "", "y": []}, "": {}} "#
    let value = try JSON(parsing: Array(text.utf8))
    #expect(
      value
        == .object([
          "a": .array([.integer(1), .integer(-2), .number(0.5), .number(100), .bool(true), .bool(false), .null]),
          "b": .object(["z": .string(""), "y": .array([])]),
          "": .object([:]),
        ]))
    #expect(value.object?["b"]?.object?.keys.elements == ["z", "y"])
  }

  @Test func readsEscapes() throws {
    let text = #""\"\\\/\b\f\n\r\t\u00e9\uD83D\ude00é""#
    #expect(try JSON(parsing: Array(text.utf8)).string == "\"\\/\u{8}\u{C}\n\r\té😀é")
  }

  @Test func writesWhatItReads() throws {
    let value: JSON = .object(["k\"\n\u{1}é😀/": .array([.integer(.min), .number(1e-5), .bool(true), .null])])
    #expect(try JSON(parsing: Array(value.text.utf8)) == value)
  }

  @Test(arguments: [
    "", " ", "{", "}", "[1,]", "{\"a\":1,}", "{\"a\" 1}", "{a:1}", "[1 2]", "01", "-", "+1", "1.", ".5", "1e", "nul",
    "truee", "\"", "\"\\x\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "\"\\udc00\"", "\"\u{1}\"", "{} {}",
    "1e999", "NaN", "{\"a\":1,\"a\":1}", "{\"a\":1,\"\\u0061\":2}",
  ]) func refuses(text: String) {
    #expect(failure { _ = try JSON(parsing: Array(text.utf8)) }?.kind == .format)
  }

  @Test func refusesInvalidUTF8() {
    #expect(failure { _ = try JSON(parsing: [0x22, 0xFF, 0x22]) }?.kind == .format)
  }

  @Test func refusesDeepNesting() throws {
    let deep = { (levels: Int) in Array(repeating: UInt8(ascii: "["), count: levels) }
    let closed = deep(60) + Array(repeating: UInt8(ascii: "]"), count: 60)
    #expect(throws: Never.self) { try JSON(parsing: closed) }
    #expect(failure { _ = try JSON(parsing: deep(1_000_000)) }?.message.contains("nested deeper") == true)
  }
}
