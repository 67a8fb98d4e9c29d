// Training vocabularies: what is learned, in which order, and where it stops.

import Foundation
import KilnKernels
import Testing

@testable import KilnData

@Suite struct BPETrainerTests {
  private func train(_ texts: [String], size: Int) throws -> BPETrainer.Result {
    try withScratchFolder { folder in
      let files = try texts.enumerated().map { index, text in
        let file = folder.appendingPathComponent("\(index)")
        try Data(text.utf8).write(to: file)
        return file
      }
      return try BPETrainer(vocabularySize: size).train(files: files)
    }
  }

  @Test func mergesTheMostFrequentPairFirst() throws {
    // In lines: "ab" 5 times, "bc" 3 times, "ac" twice, in two files.
    let result = try train(["ac\nab\nab\nab\nac", "ab\nab\nbc\nbc\nbc\n"], size: 260)
    let tokenizer = result.tokenizer
    #expect(result.reachedSize && tokenizer.vocabularySize == 260)
    #expect([256, 257, 258].map { tokenizer.text(of: [$0]) } == ["ab", "bc", "ac"])
    #expect(tokenizer.encode("ab<|endoftext|>bac") == [256, 259, 98, 258] && tokenizer.endOfText == 259)
  }

  @Test func tiesGoToTheLowerTokens() throws {
    let tokenizer = try train(["zy\nba\nzy\nba\ndc\ndc\n"], size: 259).tokenizer
    #expect(tokenizer.decode([256]) == Array("ba".utf8) && tokenizer.decode([257]) == Array("dc".utf8))
  }

  @Test func countsAreThoseOfARecount() throws {
    // The trainer keeps pair counts up to date; counting anew before each merge must choose the same pairs.
    var generator = SeededGenerator(state: 21)
    for _ in 0..<8 {
      let text = (0..<60).map { _ in
        String(
          (0..<Int.random(in: 1...7, using: &generator)).map { _ in "aabc".randomElement(using: &generator) ?? "a" })
      }.joined(separator: "\n")
      let tokenizer = try train([text], size: 285).tokenizer
      var words = text.split(separator: "\n").map { $0.utf8.map(Int32.init) }
      for token in Int32(256)..<Int32(tokenizer.vocabularySize - 1) {
        var counts: [[Int32]: Int] = [:]
        for word in words { for pair in zip(word, word.dropFirst()) { counts[[pair.0, pair.1], default: 0] += 1 } }
        let most = try #require(counts.values.max())
        let best = try #require(counts.filter { $0.value == most }.keys.min { $0.lexicographicallyPrecedes($1) })
        #expect(tokenizer.decode([token]) == tokenizer.decode(best), "merge \(token)")
        words = words.map { merged($0, best, token) }
      }
    }
  }

  private func merged(_ word: [Int32], _ pair: [Int32], _ token: Int32) -> [Int32] {
    var result: [Int32] = []
    for symbol in word {
      if result.last == pair[0], symbol == pair[1] { result[result.count - 1] = token } else { result.append(symbol) }
    }
    return result
  }

  @Test func stopsWhereNothingOccursTwice() throws {
    let result = try train(["abc"], size: 1000)
    #expect(!result.reachedSize && result.tokenizer.vocabularySize == 257)
  }

  @Test func specialTokensAreNotTrainedOn() throws {
    let tokenizer = try train([String(repeating: "<|endoftext|>xy", count: 9)], size: 400).tokenizer
    #expect(tokenizer.vocabularySize == 258 && tokenizer.decode([256]) == Array("xy".utf8))
  }

  @Test func encodesItsOwnTextBack() throws {
    let text = try Golden.corpus().texts.prefix(70).map { String(decoding: $0, as: UTF8.self) }.joined(separator: "\n")
      .replacingOccurrences(of: "\0", with: "")
    let first = try train([text], size: 500)
    let second = try train([text], size: 500)
    #expect(first.tokenizer.fingerprint == second.tokenizer.fingerprint)
    #expect(first.tokenizer.decode(first.tokenizer.encode(text)) == Array(text.utf8))
    #expect(first.tokenizer.encode(text).count < text.utf8.count * 3 / 4)
  }

  @Test func refusesWhatCannotBe() {
    #expect {
      try BPETrainer(vocabularySize: 256)
    } throws: { ($0 as? KilnError)?.message.contains("256") == true }
    #expect(throws: KilnError.self) { try BPETrainer(vocabularySize: .max) }
    #expect(throws: KilnError.self) { try BPETrainer(vocabularySize: 300).train(files: []) }
    #expect(throws: KilnError.self) { try train(["\u{0}binary"], size: 300) }
  }

  @Test func tellsItsProgress() throws {
    var generator = SeededGenerator(state: 4)
    let words = (0..<200).map { _ in String((0..<9).map { _ in "etaoinsh".randomElement(using: &generator) ?? "e" }) }
    try withScratchFolder { folder in
      let file = folder.appendingPathComponent("text")
      try Data((words + words).joined(separator: " ").utf8).write(to: file)
      var sizes: [Int] = []
      let result = try BPETrainer(vocabularySize: 480).train(files: [file]) { sizes.append($0) }
      #expect(sizes == [357, 457, 480] && result.tokenizer.vocabularySize == 480)
    }
  }
}
