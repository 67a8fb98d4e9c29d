// kiln generate

import ArgumentParser
import Foundation
import Kiln

struct GenerateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate", abstract: "Continue a text with a model.",
    discussion: """
      Prints the text as it is made. After a prompt in text it ends at the model's end-of-text token; after \
      --prompt-tokens it makes exactly --max-tokens tokens, as far as the model's context reaches.
      """)

  @OptionGroup var source: ModelSource

  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The text to continue. (required, or --prompt-tokens)", valueName: "text"))
  var prompt: String?

  @Option(help: ArgumentHelp("Instead of --prompt: the tokens to continue. (default: none)", valueName: "1,2,3"))
  var promptTokens: TokenList?

  @Option(help: ArgumentHelp("The most tokens to make.", valueName: "n"))
  var maxTokens = 200

  @Option(help: ArgumentHelp("0 takes the likeliest token each time; 1 draws by probability.", valueName: "x"))
  var temperature = 0.0

  @Option(help: ArgumentHelp("Draw from the n likeliest tokens only. (default: all)", valueName: "n"))
  var topK: Int?

  @Option(help: ArgumentHelp("Draw from the likeliest tokens that together have this probability.", valueName: "p"))
  var topP = 1.0

  @Option(help: ArgumentHelp("Of the drawing.", valueName: "n"))
  var seed: UInt64 = 0

  @Flag(help: "Print one JSON object at the end: prompt_tokens, tokens, text.")
  var json = false

  @OptionGroup(title: "Machine") var machine: MachineOptions

  private struct Result: Encodable {
    var prompt_tokens: [Int32]
    var tokens: [Int32]
    var text: String
  }

  func run() throws {
    guard (prompt == nil) != (promptTokens == nil) else {
      throw ValidationError("Give either --prompt or --prompt-tokens")
    }
    guard maxTokens >= 1 else {
      throw KilnError(.argument, "--max-tokens is \(maxTokens)", hint: "give a number of at least 1")
    }
    let sampling = try Sampling(temperature: temperature, topK: topK, topP: topP, seed: seed)
    let kernels = try machine.makeContext()
    let loaded = try source.load(context: kernels)
    let prompt = promptTokens?.tokens ?? loaded.tokenizer.encode(self.prompt ?? "")
    let ends = promptTokens == nil ? Set(loaded.model.configuration.endTokens) : []
    var text = StreamedText()
    let tokens = try Generator(
      loaded.model, precision: source.arithmetic, context: kernels, store: loaded.store
    ).generate(
      after: prompt, count: maxTokens, sampling: sampling,
      onToken: { token in
        if json || ends.contains(token) { return }
        Terminal.write(text.append(loaded.tokenizer.decode([token])))
      },
      shouldStop: ends.contains)
    let shown = tokens.last.map(ends.contains) == true ? tokens.dropLast() : tokens[...]
    if json {
      try Terminal.print(
        json: Result(prompt_tokens: prompt, tokens: tokens, text: loaded.tokenizer.text(of: shown)))
    } else {
      Terminal.print(text.rest())
    }
    if tokens.count < maxTokens, shown.count == tokens.count {
      let limit = loaded.model.configuration.contextLength
      Terminal.note("note: the model's context of \(limit) tokens is full after \(tokens.count) new ones")
    }
  }
}

/// Bytes that arrive in pieces, given out as text whose characters are complete.
struct StreamedText {
  private var pending: [UInt8] = []

  /// What can be shown now; a character that has only begun is kept back.
  mutating func append(_ bytes: [UInt8]) -> String {
    pending += bytes
    let complete = pending.count - Self.begun(in: pending)
    defer { pending.removeFirst(complete) }
    return String(decoding: pending[..<complete], as: UTF8.self)
  }

  /// What is left at the end.
  mutating func rest() -> String {
    defer { pending = [] }
    return String(decoding: pending, as: UTF8.self)
  }

  /// The length of an unfinished UTF-8 sequence at the end, 0 if there is none.
  private static func begun(in bytes: [UInt8]) -> Int {
    for (index, byte) in bytes.reversed().prefix(3).enumerated() where byte & 0xC0 != 0x80 {
      let length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1
      return index + 1 < length ? index + 1 : 0
    }
    return 0
  }
}

extension ModelConfiguration {
  /// The tokens that end a text, as far as the vocabulary has them.
  fileprivate var endTokens: [Int32] {
    let tokens =
      switch self {
      case .gpt2(let configuration): configuration.eosTokens
      case .llama(let configuration): configuration.eosTokens
      }
    return tokens.filter { (0..<vocabularySize).contains($0) }.map { Int32($0) }
  }
}
