// kiln eval

import ArgumentParser
import Foundation
import Kiln

struct EvalCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval", abstract: "Measure a model's loss on text.",
    discussion: """
      Walks the data once in windows of --context tokens. The loss is the total negative log-likelihood over the total \
      number of target tokens; bits per byte compare across tokenizers, perplexities do not.
      """)

  private static let defaultBatch = 8
  private static let longestDefaultContext = 1024

  @OptionGroup var source: ModelSource

  @Option(parsing: .upToNextOption, help: "Files to measure on: UTF-8 text, or token shards. (required)")
  var data: [String] = []

  @Option(
    help: ArgumentHelp(
      "Tokens of a window. (default: the model's limit, at most \(longestDefaultContext))", valueName: "n"))
  var context: Int?

  @Option(help: ArgumentHelp("Windows computed at a time.", valueName: "n"))
  var batch = Self.defaultBatch

  @Option(help: ArgumentHelp("Stop after so many batches. (default: all)", valueName: "n"))
  var batches: Int?

  @Flag(help: "Print one JSON object: loss, perplexity, bits_per_byte, tokens, batches.")
  var json = false

  @OptionGroup(title: "Machine") var machine: MachineOptions

  func run() throws {
    for (name, value) in [("context", context), ("batch", batch), ("batches", batches)] {
      if let value, value < 1 {
        throw KilnError(.argument, "--\(name) is \(value)", hint: "give a number of at least 1")
      }
    }
    let files = try required(data.isEmpty ? nil : data, "--data <data>...")
    let kernels = try machine.makeContext()
    let loaded = try source.load(context: kernels)
    let limit = loaded.model.configuration.contextLength
    let time = context ?? min(limit, Self.longestDefaultContext)
    guard time <= limit else {
      throw KilnError(
        .argument, "--context \(time) is longer than the model's \(limit) positions", hint: "give at most \(limit)")
    }
    let corpus = try Corpus(files: files.map { URL(fileURLWithPath: $0) }, tokenizer: loaded.tokenizer)
    try corpus.check(vocabularySize: loaded.model.configuration.vocabularySize)
    let evaluator = try Evaluator(
      loaded.model, batch: batch, time: time, precision: source.arithmetic, hasMasters: false, context: kernels,
      store: loaded.store)
    let evaluation = try evaluator.evaluate(corpus, limit: batches)
    if json {
      try Terminal.print(json: evaluation)
    } else {
      Terminal.print(table: rows(evaluation, unigram: corpus.byteEntropy(decodedBy: loaded.tokenizer)))
    }
  }

  private func rows(_ evaluation: Evaluation, unigram: Double?) -> [(name: String, value: String)] {
    let limit = unigram.map { String(format: " (byte frequencies alone: %.4f)", $0) } ?? ""
    let bits = evaluation.bitsPerByte.map { [("bits per byte", String(format: "%.4f", $0) + limit)] } ?? []
    return [
      ("loss", String(format: "%.4f", evaluation.loss)), ("perplexity", String(format: "%.3f", evaluation.perplexity)),
    ] + bits + [("tokens", "\(evaluation.tokens)"), ("batches", "\(evaluation.batches)")]
  }
}
