// Encoding and decoding against Hugging Face's tokenizers, and what holds of every tokenizer.

import Foundation
import KilnKernels
import Testing

@testable import KilnData

@Suite struct TokenizerTests {
  @Test(arguments: Golden.tokenizers)
  func encodesAsTheReference(name: String) throws {
    let tokenizer = try Golden.tokenizer(name)
    let corpus = try Golden.corpus()
    let expected = try #require(corpus.ids[name])
    #expect(corpus.texts.count > 200 && expected.count == corpus.texts.count)
    for (text, ids) in zip(corpus.texts, expected) {
      #expect(tokenizer.encode(Array(text)) == ids, "\(String(decoding: text, as: UTF8.self).debugDescription)")
    }
  }

  @Test(arguments: ["gpt2", "llama3"])
  func decodesToTheRepairedText(name: String) throws {
    let tokenizer = try Golden.tokenizer(name)
    let corpus = try Golden.corpus()
    for (ids, text) in zip(try #require(corpus.ids[name]), try #require(corpus.decoded[name])) {
      #expect(tokenizer.text(of: ids) == String(decoding: text, as: UTF8.self))
    }
    for text in corpus.texts {
      #expect(tokenizer.decode(tokenizer.encode(Array(text))) == Array(String(decoding: text, as: UTF8.self).utf8))
    }
  }

  @Test func bytesPassUnchanged() {
    let tokenizer = ByteTokenizer()
    let bytes = (0...255).map { UInt8($0) } + [0xFF, 0xC3]
    #expect(tokenizer.encode(bytes) == bytes.map(Int32.init))
    #expect(tokenizer.decode(tokenizer.encode(bytes)) == bytes)
    #expect(tokenizer.decode([65, 256, -1, 66]) == [65, 66])
    #expect(tokenizer.vocabularySize == 256 && tokenizer.endOfText == nil)
  }

  @Test func splitsAsThePublishedExamples() {
    let split = PreTokenizer(steps: [.pattern(.gpt2)])
    func pieces(_ text: String) -> [String] {
      var pieces: [String] = []
      let bytes = Array(text.utf8)
      split.forEachPiece(of: bytes, in: 0..<bytes.count) { pieces.append(ByteAlphabet.string(of: $0[$1])) }
      return pieces
    }
    #expect(
      pieces("Hello my friend, how is your day going?")
        == ["Hello", "Ġmy", "Ġfriend", ",", "Ġhow", "Ġis", "Ġyour", "Ġday", "Ġgoing", "?"])
    #expect(pieces("Hello there       dear") == ["Hello", "Ġthere", "ĠĠĠĠĠĠ", "Ġdear"])
    #expect(pieces("Hello there\nHello there") == ["Hello", "Ġthere", "Ċ", "Hello", "Ġthere"])
  }

  @Test(arguments: Golden.tokenizers)
  func cutTextEncodesAsWholeText(name: String) throws {
    let tokenizer = try Golden.tokenizer(name)
    var generator = SeededGenerator(state: 7)
    let atoms = [
      " ", "  ", "\n", "\n\n", "\t", "'s", "a", "river", "é", "字", "1", ".", "<|endoftext|>", "<mask>", "\r\n",
      "\u{A0}", "!\n",
    ]
    var cuts = 0
    for _ in 0..<400 {
      let text = Array((0..<12).map { _ in atoms.randomElement(using: &generator) ?? "" }.joined().utf8)
      guard let cut = tokenizer.lastCut(in: text) else { continue }
      cuts += 1
      #expect(tokenizer.encode(Array(text[..<cut])) + tokenizer.encode(Array(text[cut...])) == tokenizer.encode(text))
    }
    #expect(cuts > 100 || name == "smollm")
  }

  @Test func wholePiecesIgnoreMerges() throws {
    // "ab" is a token that no merge makes: only ignore_merges finds it.
    for ignores in [false, true] {
      let json = Self.smallModel(vocabulary: #""a":0,"b":1,"ab":2"#, extra: #","ignore_merges":\#(ignores)"#)
      let tokenizer = try BPETokenizer(json: Data(json.utf8), name: "small")
      #expect(tokenizer.encode("ab") == (ignores ? [2] : [0, 1]))
    }
  }

  @Test func unknownBytesBecomeTheUnknownToken() throws {
    let fused = #","unk_token":"?","fuse_unk":true"#
    let apart = #","unk_token":"?""#
    for (extra, expected) in [("", [0, 0]), (apart, [0, 1, 1, 0]), (fused, [0, 1, 0])] as [(String, [Int32])] {
      let json = Self.smallModel(vocabulary: #""a":0,"?":1"#, extra: extra)
      #expect(try BPETokenizer(json: Data(json.utf8), name: "small").encode("axya") == expected)
    }
  }

  @Test func longPiecesMergeInTime() throws {
    let tokenizer = try Golden.tokenizer("gpt2")
    let text = [UInt8](repeating: UInt8(ascii: "a"), count: 20_000)
    #expect(tokenizer.decode(tokenizer.encode(text)) == text)
  }

  @Test func savesWhatItRead() throws {
    let tokenizer = try Golden.tokenizer("llama3")
    try withScratchFolder { folder in
      try tokenizer.save(to: folder)
      let copy = try BPETokenizer(contentsOf: folder)
      #expect(copy.fingerprint == tokenizer.fingerprint)
      #expect(copy.encode("12 grey stones") == tokenizer.encode("12 grey stones"))
      #expect(throws: KilnError.self) { try tokenizer.save(to: folder.appendingPathComponent("none")) }
    }
    #expect(try tokenizer.fingerprint != Golden.tokenizer("gpt2").fingerprint)
    #expect(tokenizer.endOfText == 1)
  }

  static func smallModel(vocabulary: String, merges: String = "", extra: String = "") -> String {
    #"{"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},"model":{"type":"BPE","vocab":{\#(vocabulary)},"#
      + #""merges":[\#(merges)]\#(extra)}}"#
  }
}
