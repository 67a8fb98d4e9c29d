// Generation for the bench: greedy, one token at a time over cached keys and values.

import Foundation
import Harness
import Kiln

struct GenerationWorker {
  private let generator: Generator
  private let tokens: Int
  private let parameters: Int

  init(_ work: Job, _ options: Trainer.Options) throws {
    let shape = try ModelShape(work)
    guard let tokens = work.tokens else { throw BenchFailure("generation needs tokens") }
    let configuration = try GPT2Configuration(
      vocabularySize: shape.vocabulary, width: shape.width, layers: shape.layers, heads: shape.heads)
    let context = try Context(device: options.device, threads: options.threads)
    let model = ModelConfiguration.gpt2(configuration).makeModel()
    let store = try Self.weights(of: model, in: work.precision, context)
    generator = Generator(model, precision: work.precision, context: context, store: store)
    self.tokens = tokens
    parameters = configuration.parameterCount
  }

  /// Random weights as generation keeps them: matrices in its precision alone.
  private static func weights(
    of model: any LanguageModel, in precision: Precision, _ context: Context
  ) throws -> ParameterStore {
    let store = ParameterStore(on: context)
    try model.initialize(store, seed: 1, precision: precision, context: context)
    return store
  }

  /// Each run goes on from the prompt again. A token more than asked is generated: the first comes out of the prompt.
  func serve() throws {
    let expected = try generate().tokens
    let again = try generator.generate(
      after: Self.prompt + expected.dropLast(), count: 1, sampling: Sampling())
    guard again.first == expected.last else {
      throw BenchFailure("token \(tokens) over the cache differs from the one after a prompt of all before it")
    }
    Answer(ok: true, note: "\(parameters / 1_000_000)M parameters").send()
    while let request = Request.next() {
      guard case .run(let count) = request else { return Answer(ok: true).send() }
      let seconds = try (0..<count).reduce(0) { sum, _ in try sum + generate().seconds }
      Answer.runs(seconds: seconds).send()
    }
  }

  private static let prompt: [Int32] = [1]

  private func generate() throws -> (tokens: [Int32], seconds: Double) {
    var times: [ContinuousClock.Instant] = []
    let result = try generator.generate(
      after: Self.prompt, count: tokens + 1, sampling: Sampling(), onToken: { _ in times.append(.now) })
    guard let first = times.first, let last = times.last, result.count == tokens + 1 else {
      throw BenchFailure("\(result.count) tokens were generated instead of \(tokens + 1)")
    }
    return (result, (last - first) / .seconds(1))
  }
}
