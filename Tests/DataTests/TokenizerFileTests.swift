// What a tokenizer.json may get wrong, and that no damage to one crashes.

import Foundation
import KilnKernels
import Testing

@testable import KilnData

@Suite struct TokenizerFileTests {
  private func failure(_ json: String) -> KilnError? {
    do throws(KilnError) {
      _ = try BPETokenizer(json: Data(json.utf8), name: "t.json")
      return nil
    } catch { return error }
  }

  /// A tokenizer.json with this pre-tokenizer and normalizer.
  private static func around(_ preTokenizer: String, normalizer: String = "null") -> String {
    #"{"normalizer":\#(normalizer),"pre_tokenizer":\#(preTokenizer),"#
      + #""model":{"type":"BPE","vocab":{"a":0},"merges":[]}}"#
  }

  /// Files, and what their errors must name.
  static let unsupported: [(String, String)] = [
    (#"{"model":{"type":"WordPiece","vocab":{}}}"#, "WordPiece"),
    (#"{"model":{"type":"Unigram","vocab":[["a",0.1]]}}"#, "Unigram"),
    (around("null"), "no ByteLevel"),
    (around(#"{"type":"Metaspace"}"#), "Metaspace"),
    (around(#"{"type":"Sequence","pretokenizers":[{"type":"Punctuation"},{"type":"ByteLevel"}]}"#), "Punctuation"),
    (around(split(#"{"Regex":"[aeiou]"}"#)), "[aeiou]"),
    (around(split(#"{"String":"ab"}"#)), "\"ab\""),
    (around(split(#"{"Regex":"\\s+"}"#, behavior: "Removed")), "Removed"),
    (around(#"{"type":"ByteLevel"}"#, normalizer: #"{"type":"NFC"}"#), "NFC"),
    (TokenizerTests.smallModel(vocabulary: #""a":0"#, extra: #","byte_fallback":true"#), "byte_fallback"),
    (TokenizerTests.smallModel(vocabulary: #""a":0"#, extra: #","dropout":0.1"#), "dropout 0.1"),
    (TokenizerTests.smallModel(vocabulary: #""a":0"#, extra: #","end_of_word_suffix":"</w>""#), "</w>"),
  ]

  private static func split(_ pattern: String, behavior: String = "Isolated") -> String {
    let split = #"{"type":"Split","pattern":\#(pattern),"behavior":"\#(behavior)","invert":false}"#
    return #"{"type":"Sequence","pretokenizers":[\#(split),{"type":"ByteLevel","use_regex":false}]}"#
  }

  @Test(arguments: unsupported)
  func namesWhatIsNotSupported(json: String, named: String) throws {
    let error = try #require(failure(json))
    #expect(error.kind == .unsupported && error.message.contains(named) && error.message.hasPrefix("t.json: "))
    #expect(!error.message.contains("\n"))
  }

  static let damaged: [(String, String)] = [
    ("", "t.json"), ("{", "t.json"), ("[]", "t.json"), ("{}", "model"), ("nul", "t.json"),
    (String(repeating: "[", count: 100_000), "expected {"),
    (#"{"x":"# + String(repeating: "[", count: 100_000), "nested"),
    (#"{"x":"\ud800"}"#, "surrogate"), (#"{"x":tru}"#, "true"), (#"{} {}"#, "after"), ("{\"x\":\"\n\"}", "control"),
    (TokenizerTests.smallModel(vocabulary: #""a":0,"a":0"#), "occurs twice"),
    (TokenizerTests.smallModel(vocabulary: ""), "empty"),
    (TokenizerTests.smallModel(vocabulary: #""a":-1"#), "number -1"),
    (TokenizerTests.smallModel(vocabulary: #""a":4000000000"#), "4000000000"),
    (TokenizerTests.smallModel(vocabulary: #""a":1e300"#), "1e300"),
    (TokenizerTests.smallModel(vocabulary: #""a":3,"b":3"#), "number 3 occurs twice"),
    (TokenizerTests.smallModel(vocabulary: #""a":0"#, merges: #""a c""#), "\"c\""),
    (TokenizerTests.smallModel(vocabulary: #""a":0"#, merges: #""a a""#), "\"aa\""),
    (TokenizerTests.smallModel(vocabulary: #""a":0"#, merges: #""a""#), "two tokens"),
    (TokenizerTests.smallModel(vocabulary: #""a":0"#, merges: #"["a","a","a"]"#), "two tokens"),
    (TokenizerTests.smallModel(vocabulary: #""a":0"#, extra: #","unk_token":"?""#), "unk_token"),
  ]

  @Test(arguments: damaged)
  func namesWhatIsDamaged(json: String, named: String) throws {
    let error = try #require(failure(json))
    #expect(error.kind == .format && error.message.contains(named), "\(error)")
    #expect(!error.message.contains("\n"))
  }

  @Test func readsEscapedText() throws {
    // Python's json.dumps writes all but ASCII as \uXXXX, beyond the basic plane as two surrogates.
    let plain = try String(contentsOf: Golden.file("gpt2"), encoding: .utf8)
      .replacingOccurrences(of: "<|endoftext|>", with: "<😀/\\\">")
    let escaped = plain.utf16.map { unit in
      unit < 0x80 ? String(Unicode.Scalar(UInt8(unit))) : "\\u" + String(format: "%04X", Int(unit))
    }.joined()
    #expect(escaped.contains("\\u0120") && escaped.contains("\\uD83D\\uDE00"))
    let text = "größere Häuser <😀/\"> by 12"
    let tokenizer = try BPETokenizer(json: Data(escaped.utf8), name: "escaped")
    let tokens = tokenizer.encode(text)
    #expect(tokens == (try BPETokenizer(json: Data(plain.utf8), name: "plain").encode(text)))
    #expect(tokens.contains(0) && tokenizer.decode(tokens) == Array(text.utf8))
  }

  @Test func namesAMissingFile() {
    #expect {
      try BPETokenizer(contentsOf: URL(fileURLWithPath: "/nowhere/tokenizer.json"))
    } throws: { error in
      (error as? KilnError)?.kind == .file && "\(error)".contains("/nowhere/tokenizer.json")
    }
  }

  @Test func mutationsNeverCrash() throws {
    var generator = SeededGenerator(state: 3)
    let small = Array(
      TokenizerTests.smallModel(
        vocabulary: #""a":0,"b":1,"Ġ":2,"ab":3,"Ġab":4,"<s>":5"#, merges: #""a b",["Ġ","ab"]"#,
        extra: #","ignore_merges":true"#
      ).replacingOccurrences(
        of: #""model""#,
        with: #""added_tokens":[{"id":5,"content":"<s>","lstrip":true,"rstrip":true,"single_word":true}],"model""#
      ).utf8)
    let text = Array("ab <s>  ab\u{301} 字 <s>".utf8)
    #expect(try BPETokenizer(json: Data(small), name: "t").encode(text).count > 3)
    var accepted = 0
    for _ in 0..<1500 {
      var bytes = small
      for _ in 0...Int.random(in: 0..<3, using: &generator) { mutate(&bytes, &generator) }
      guard let tokenizer = try? BPETokenizer(json: Data(bytes), name: "t") else { continue }
      accepted += 1
      let tokens = tokenizer.encode(text)
      #expect(tokens.allSatisfy { $0 >= 0 && Int($0) < tokenizer.vocabularySize })
      _ = tokenizer.decode(tokens + [-1, .max])
    }
    #expect(accepted > 50 && accepted < 1500)
  }

  private func mutate(_ bytes: inout [UInt8], _ generator: inout SeededGenerator) {
    guard bytes.count > 2 else { return }
    let place = Int.random(in: 0..<bytes.count, using: &generator)
    switch Int.random(in: 0..<4, using: &generator) {
    case 0: bytes[place] = UInt8.random(in: 0...255, using: &generator)
    case 1: bytes.remove(at: place)
    case 2: bytes.insert(Array("0123456789-.\"[]{}:,".utf8).randomElement(using: &generator) ?? 0, at: place)
    default: bytes.removeSubrange(place..<min(bytes.count, place + 9))
    }
  }
}
