// Corpora from text and shards: equal to encoding at once, cached, and clear about what is wrong.

import Foundation
import KilnKernels
import Testing

@testable import KilnData

@Suite struct CorpusTests {
  private func write(_ bytes: [UInt8], _ name: String, in folder: URL) throws -> URL {
    let file = folder.appendingPathComponent(name)
    try Data(bytes).write(to: file)
    return file
  }

  private func failure(_ body: () throws(KilnError) -> Void) -> KilnError? {
    do throws(KilnError) { try body() } catch { return error }
    return nil
  }

  static func shard(magic: UInt32 = 20_240_520, version: UInt32 = 1, count: UInt32? = nil, tokens: [UInt32]) -> [UInt8]
  {
    let header = [magic, version, count ?? UInt32(tokens.count)] + [UInt32](repeating: 0, count: 253)
    let narrow = magic == 20_240_520
    return header.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
      + tokens.flatMap { token in (0..<(narrow ? 2 : 4)).map { UInt8(truncatingIfNeeded: token >> (8 * UInt32($0))) } }
  }

  @Test(arguments: Golden.tokenizers)
  func partsEncodeAsTheWhole(name: String) throws {
    let tokenizer = try Golden.tokenizer(name)
    let corpus = try Golden.corpus()
    let text = corpus.texts.prefix(60).map {
      String(decoding: $0, as: UTF8.self).replacingOccurrences(of: "\0", with: "")
    }
    .joined(separator: " word\n")
    try withScratchFolder { folder in
      let file = try write(Array(text.utf8), "text", in: folder)
      for size in [1, 7, 64, 1000] {
        var reader = try TextReader(file, partSize: size)
        var tokens: [Int32] = []
        var parts = 0
        while let part = try reader.next(cutBy: tokenizer) {
          tokens += tokenizer.encode(part)
          parts += 1
        }
        #expect(tokens == tokenizer.encode(text))
        #expect(parts > 1 || name == "smollm")
      }
    }
  }

  @Test func textIsCachedAndMapped() throws {
    let tokenizer = try Golden.tokenizer("gpt2")
    let text = Array(String(repeating: "the river isn't counting größere Häuser.\n", count: 50).utf8)
    try withScratchFolder { folder in
      let cache = folder.appendingPathComponent("deep/cache")
      let first = try Corpus(files: [write(text, "a.txt", in: folder)], tokenizer: tokenizer, cache: cache)
      #expect(first[0..<first.count] == tokenizer.encode(text))
      #expect(first.byteCount == text.count)
      let cached = try FileManager.default.contentsOfDirectory(atPath: cache.path)
      #expect(cached.count == 1 && cached[0].hasSuffix(".tokens"))

      // Another name, the same content and tokenizer: the same cache file. Another tokenizer: another one.
      let copy = try write(text, "b.txt", in: folder)
      let second = try Corpus(files: [copy], tokenizer: tokenizer, cache: cache)
      #expect(second[0..<second.count] == first[0..<first.count])
      #expect(try FileManager.default.contentsOfDirectory(atPath: cache.path) == cached)
      _ = try Corpus(files: [copy], tokenizer: ByteTokenizer(), cache: cache)
      #expect(try FileManager.default.contentsOfDirectory(atPath: cache.path).count == 2)
    }
  }

  @Test func damagedCacheFilesAreRebuilt() throws {
    var generator = SeededGenerator(state: 5)
    let text = Array(String(repeating: "some words of text\n", count: 20).utf8)
    try withScratchFolder { folder in
      let file = try write(text, "text", in: folder)
      let cache = folder.appendingPathComponent("cache")
      let whole = try Corpus(files: [file], tokenizer: ByteTokenizer(), cache: cache)
      let expected = whole[0..<whole.count]
      let cached = cache.appendingPathComponent(try FileManager.default.contentsOfDirectory(atPath: cache.path)[0])
      let good = [UInt8](try Data(contentsOf: cached))
      #expect(good.count == 64 + 2 * text.count)
      for round in 0..<120 {
        var bytes = good
        switch round % 4 {
        case 0: bytes[Int.random(in: 0..<64, using: &generator)] ^= UInt8.random(in: 1...255, using: &generator)
        case 1: bytes.removeLast(Int.random(in: 1...bytes.count, using: &generator))
        case 2: bytes += [UInt8](repeating: 0, count: Int.random(in: 1...9, using: &generator))
        default:
          bytes = (0..<Int.random(in: 0...200, using: &generator)).map { _ in .random(in: 0...255, using: &generator) }
        }
        try Data(bytes).write(to: cached)
        let corpus = try Corpus(files: [file], tokenizer: ByteTokenizer(), cache: cache)
        #expect(corpus[0..<corpus.count] == expected)
        #expect(try [UInt8](Data(contentsOf: cached)) == good, "round \(round)")
      }
    }
  }

  @Test func worksWithoutAWritableCache() throws {
    try withScratchFolder { folder in
      let file = try write(Array("just text".utf8), "text", in: folder)
      // A cache below a file can't be made, whoever runs the test.
      for cache in [nil, file.appendingPathComponent("cache")] {
        let corpus = try Corpus(files: [file], tokenizer: ByteTokenizer(), cache: cache)
        #expect(corpus[5..<9] == [116, 101, 120, 116])
      }
    }
  }

  @Test func findsTheStandardCache() {
    func path(_ environment: [String: String]) -> String? {
      TokenCache.standardDirectory(environment: environment)?.path
    }
    #expect(path(["KILN_CACHE": "/k", "XDG_CACHE_HOME": "/x", "HOME": "/h"]) == "/k")
    #expect(path(["KILN_CACHE": "", "XDG_CACHE_HOME": "/x", "HOME": "/h"]) == "/x/kiln")
    #expect(path(["HOME": "/h"]) == "/h/.cache/kiln")
    #expect(path([:]) == nil)
  }

  @Test func readsBothShardLayouts() throws {
    try withScratchFolder { folder in
      let narrow = try write(Self.shard(tokens: [0, 1, 50256, 65535]), "narrow.bin", in: folder)
      let wide = try write(
        Self.shard(magic: 20_240_801, version: 7, tokens: [7, 128_000, 0xFFFF_FFFF]), "wide.bin", in: folder)
      let corpus = try Corpus(files: [narrow, wide], tokenizer: ByteTokenizer(), cache: nil)
      #expect(corpus[0..<7] == [0, 1, 50256, 65535, 7, 128_000, .max])
      #expect(corpus[3..<5] == [65535, 7] && corpus[7..<7] == [])
      #expect(corpus.byteCount == nil && corpus.maximumToken() == .max)
      let error = try #require(failure { () throws(KilnError) in try corpus.check(vocabularySize: 50257) })
      #expect(error.kind == .data && error.message.contains("50257"))
    }
  }

  @Test func checksTokensAgainstTheVocabulary() throws {
    let corpus = Corpus(tokens: [1, 5, 2])
    #expect(failure { () throws(KilnError) in try corpus.check(vocabularySize: 6) } == nil)
    #expect(
      failure { () throws(KilnError) in try corpus.check(vocabularySize: 5) }?.message.contains("token 5") == true)
    #expect(Corpus(tokens: []).maximumToken() == nil)
  }

  @Test func namesWhatIsWrongWithAFile() throws {
    try withScratchFolder { folder in
      let shard = Self.shard(tokens: [1, 2, 3])
      let cases: [([UInt8], KilnError.Kind, String)] = [
        ([], .file, "is empty"),
        (Array("text\0more".utf8), .data, "byte 0x00 at offset 4"),
        (Array("höh".utf8) + [0xFF] + Array("text".utf8), .data, "byte 0xFF at offset 4"),
        (Array("ends ".utf8) + [0xE2, 0x82], .data, "byte 0xE2 at offset 5"),
        (Array(shard.dropLast()), .format, "has 1030 bytes, this one has 1029"),
        (Array(shard.prefix(8)), .format, "within its header"),
        (Self.shard(version: 2, tokens: [1]), .format, "version 2"),
        (Self.shard(count: 0xFFFF_FFFF, tokens: [1]), .format, "4294967295"),
        (Self.shard(tokens: []), .data, "no tokens"),
      ]
      for (bytes, kind, text) in cases {
        let file = try write(bytes, "bad", in: folder)
        for cache in [nil, folder.appendingPathComponent("cache")] {
          let error = failure { () throws(KilnError) in
            _ = try Corpus(files: [file], tokenizer: ByteTokenizer(), cache: cache)
          }
          #expect(error?.kind == kind && error?.message.contains(text) == true, "\(text): \(error as Any)")
          #expect(error?.message.contains(file.path) == true)
        }
      }
      let none = folder.appendingPathComponent("none")
      for (file, text) in [(none, "no such file"), (folder, "folder"), (URL(fileURLWithPath: "/dev/null"), "regular")] {
        let error = failure { () throws(KilnError) in
          _ = try Corpus(files: [file], tokenizer: ByteTokenizer(), cache: nil)
        }
        #expect(error?.kind == .file && error?.message.contains(text) == true, "\(error as Any)")
      }
      #expect(
        failure { () throws(KilnError) in _ = try Corpus(files: [], tokenizer: ByteTokenizer(), cache: nil) } != nil)
    }
  }

  @Test func mutatedShardsNeverCrash() throws {
    var generator = SeededGenerator(state: 11)
    let good = Self.shard(tokens: (0..<40).map { $0 })
    try withScratchFolder { folder in
      var accepted = 0
      for _ in 0..<300 {
        var bytes = good
        bytes[Int.random(in: 0..<12, using: &generator)] = .random(in: 0...255, using: &generator)
        if Bool.random(using: &generator) { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator)) }
        let file = try write(bytes, "shard", in: folder)
        guard let corpus = try? Corpus(files: [file], tokenizer: ByteTokenizer(), cache: nil) else { continue }
        accepted += 1
        #expect(corpus[0..<corpus.count].count == corpus.count)
      }
      #expect(accepted < 300)
    }
  }

  @Test func holdsOutTheLastPart() throws {
    let tokenizer = try Golden.tokenizer("gpt2")
    let text = Array(String(repeating: "naïve cafés by the river\n", count: 40).utf8)
    try withScratchFolder { folder in
      let files = [try write(text, "a", in: folder), try write(text, "b", in: folder)]
      let corpus = try Corpus(files: files, tokenizer: tokenizer, cache: folder)
      let (training, validation) = try corpus.split(fraction: 0.6)
      #expect(training.count + validation.count == corpus.count)
      #expect(abs(Double(validation.count) - 0.6 * Double(corpus.count)) <= 1)
      #expect(training[0..<training.count] + validation[0..<validation.count] == corpus[0..<corpus.count])
      #expect(validation.byteCount == tokenizer.decode(validation[0..<validation.count]).count)
      #expect((training.byteCount ?? 0) + (validation.byteCount ?? 0) == text.count * 2)
    }
    for fraction in [0, 1, -0.5, .nan] {
      #expect(
        failure { () throws(KilnError) in _ = try Corpus(tokens: [1, 2, 3, 4]).split(fraction: fraction) } != nil)
    }
    #expect(failure { () throws(KilnError) in _ = try Corpus(tokens: [1, 2, 3]).split(fraction: 0.5) }?.kind == .data)
    #expect(try Corpus(tokens: [1, 2, 3, 4]).split(fraction: 0.5).validation.byteCount == nil)
  }

  @Test func hashesDoNotDependOnCuts() {
    let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    var whole = ContentHash()
    whole.update(bytes)
    var generator = SeededGenerator(state: 9)
    for _ in 0..<20 {
      var cut = ContentHash()
      var rest = bytes[...]
      while !rest.isEmpty {
        let part = rest.prefix(Int.random(in: 1...30, using: &generator))
        cut.update(Array(part))
        rest = rest.dropFirst(part.count)
      }
      #expect(cut.value == whole.value)
    }
    var other = ContentHash()
    other.update(bytes + [0])
    #expect(other.value != whole.value && whole.value.count == 32)
  }
}
