// kiln tokenizer

import ArgumentParser
import Foundation
import Kiln

struct TokenizerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenizer", abstract: "Make tokenizers.", subcommands: [Train.self])

  struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "train", abstract: "Learn a byte-level BPE vocabulary from text.",
      discussion: "The result is a tokenizer.json that Hugging Face's tokenizers loads too.")

    @Option(parsing: .upToNextOption, help: "Files of UTF-8 text to learn from. (required)")
    var data: [String] = []

    @Option(help: ArgumentHelp("Tokens, the 256 bytes and <|endoftext|> included. (required)", valueName: "n"))
    var vocabSize: Int?

    @Option(help: ArgumentHelp("The tokenizer.json to write; it must not exist. (required)", valueName: "file"))
    var out: String?

    func run() throws {
      let files = try required(data.isEmpty ? nil : data, "--data <data>...")
      let vocabSize = try required(vocabSize, "--vocab-size <n>")
      let out = try required(out, "--out <file>")
      guard !FileManager.default.fileExists(atPath: out) else {
        throw KilnError(.file, "'\(out)' exists", hint: "choose another --out, or remove it")
      }
      let trainer = try BPETrainer(vocabularySize: vocabSize)
      let isInteractive = Terminal.isInteractive
      let result = try trainer.train(files: files.map { URL(fileURLWithPath: $0) }) { size in
        if isInteractive { Terminal.write("\r\u{1B}[K\(size)/\(vocabSize) tokens") }
      }
      if isInteractive { Terminal.write("\r\u{1B}[K") }
      try result.tokenizer.write(to: URL(fileURLWithPath: out))
      if !result.reachedSize {
        Terminal.note("note: the text has too few repeated pairs for \(vocabSize) tokens")
      }
      Terminal.print("\(result.tokenizer.vocabularySize) tokens in \(out)")
    }
  }
}
