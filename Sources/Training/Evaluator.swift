import Foundation
import KilnData
import KilnGraph
import KilnKernels
import KilnLayers
import KilnOptimizers

/// What an evaluation found.
public struct Evaluation: Sendable, Hashable, Codable {
  /// Total negative log-likelihood over total target tokens, in nats.
  public var loss: Double
  public var perplexity: Double
  /// Of the text behind the tokens; absent for token shards, whose text is unknown.
  public var bitsPerByte: Double?
  public var tokens: Int
  public var batches: Int

  enum CodingKeys: String, CodingKey {
    case loss, perplexity, tokens, batches
    case bitsPerByte = "bits_per_byte"
  }
}

/// Measures a model on held-out tokens, walking them in order once.
public final class Evaluator {
  private let pass: LossPass
  private let batch: Int
  private let time: Int

  /// - Parameters:
  ///   - hasMasters: whether the store holds matrices in fp32, or in `precision`.
  ///   - optimizer: the one that trains the weights, where the store has its states.
  public convenience init(
    _ model: any LanguageModel, batch: Int, time: Int, precision: Precision = .fp32, hasMasters: Bool = true,
    optimizer: (any Optimizer)? = nil, context: Context, store: ParameterStore
  ) throws(KilnError) {
    let plan = try LossPlan(
      model, batch: batch, time: time, precision: precision, hasMasters: hasMasters, optimizer: optimizer,
      planner: Planner(context: context))
    try self.init(plan, batch: batch, time: time, context: context, store: store, arena: nil)
  }

  init(
    _ plan: LossPlan, batch: Int, time: Int, context: Context, store: ParameterStore, arena: Storage?
  ) throws(KilnError) {
    self.batch = batch
    self.time = time
    pass = try LossPass(plan, context: context, store: store, arena: arena)
  }

  /// - Parameters:
  ///   - limit: stop after so many batches.
  ///   - shouldStop: asked before each batch; a stop is an error of kind `interrupted`.
  public func evaluate(
    _ corpus: Corpus, limit: Int? = nil, shouldStop: () -> Bool = { false }
  ) throws(KilnError) -> Evaluation {
    let windows = try EvaluationWindows(corpus, context: time, batch: batch)
    var total = 0.0
    var tokens = 0
    var batches = 0
    for index in 0..<min(windows.count, limit ?? .max) {
      guard !shouldStop() else { throw KilnError(.interrupted, "the evaluation was interrupted") }
      let batch = windows[index]
      pass.session.set(tokens: batch.inputs, targets: batch.targets, time: time, lossScale: 1)
      let sum = try pass.run()
      guard sum.isFinite else { throw KilnError(.numerics, "the loss of batch \(index) is \(sum)") }
      total += sum
      tokens += batch.targetCount
      batches += 1
    }
    let mean = total / Double(tokens)
    // Every target token but the first of the text is predicted; the bytes are taken in the same proportion.
    let bytesPerToken = corpus.byteCount.map { Double($0) / Double(corpus.count) }
    return Evaluation(
      loss: mean, perplexity: exp(mean), bitsPerByte: bytesPerToken.map { mean / M_LN2 / $0 },
      tokens: tokens, batches: batches)
  }
}
