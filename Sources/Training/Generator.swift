import Foundation
import KilnGraph
import KilnKernels
import KilnLayers

/// How the next token is chosen from the logits.
public struct Sampling: Sendable, Hashable {
  /// 0 takes the likeliest token (greedy).
  public var temperature: Double
  /// Only so many likeliest tokens; nil for all.
  public var topK: Int?
  /// Only the likeliest tokens that together have this probability; 1 for all.
  public var topP: Double
  public var seed: UInt64

  public init(temperature: Double = 0, topK: Int? = nil, topP: Double = 1, seed: UInt64 = 0) throws(KilnError) {
    guard temperature >= 0, temperature.isFinite else {
      throw KilnError(.argument, "temperature \(temperature) is not >= 0")
    }
    if let topK, topK < 1 { throw KilnError(.argument, "top-k is \(topK), not at least 1") }
    guard topP > 0, topP <= 1 else { throw KilnError(.argument, "top-p \(topP) is not in 0 < p <= 1") }
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.seed = seed
  }

  /// The index of the chosen logit, for the number `draw` in 0 ..< 1.
  func choose(_ logits: [Float], draw: Double) -> Int {
    if temperature == 0 { return logits.indices.max { (logits[$0], $1) < (logits[$1], $0) } ?? 0 }
    var candidates = Array(logits.indices)
    if topK != nil || topP < 1 {
      candidates.sort { (logits[$0], $1) > (logits[$1], $0) }
      if let topK { candidates = Array(candidates.prefix(topK)) }
    }
    let largest = Double(candidates.map { logits[$0] }.max() ?? 0)
    var weights = candidates.map { exp((Double(logits[$0]) - largest) / temperature) }
    if topP < 1 {
      let limit = topP * weights.reduce(0, +)
      var sum = 0.0
      let kept =
        (weights.firstIndex { weight in
          sum += weight
          return sum >= limit
        } ?? weights.count - 1) + 1
      weights = Array(weights.prefix(kept))
    }
    var remaining = draw * weights.reduce(0, +)
    for (index, weight) in weights.enumerated() {
      remaining -= weight
      if remaining < 0 { return candidates[index] }
    }
    return candidates[weights.count - 1]
  }
}

/// Continues token sequences with a model, one token at a time over cached keys and values.
public final class Generator {
  private let model: any LanguageModel
  private let context: Context
  private let store: ParameterStore
  private let precision: Precision

  /// - Parameter store: holds matrices in `precision`.
  public init(
    _ model: any LanguageModel, precision: Precision = .fp32, context: Context, store: ParameterStore
  ) {
    self.model = model
    self.precision = precision
    self.context = context
    self.store = store
  }

  /// The tokens after `prompt`, at most `count`; fewer where the model's context is full or `shouldStop` says so.
  public func generate(
    after prompt: [Int32], count: Int, sampling: Sampling, onToken: (Int32) -> Void = { _ in },
    shouldStop: (Int32) -> Bool = { _ in false }
  ) throws(KilnError) -> [Int32] {
    let configuration = model.configuration
    guard !prompt.isEmpty else {
      throw KilnError(.argument, "the prompt is empty", hint: "give at least one token to continue")
    }
    for token in prompt where token < 0 || Int(token) >= configuration.vocabularySize {
      throw KilnError(.argument, "token \(token) is outside the vocabulary of \(configuration.vocabularySize)")
    }
    guard prompt.count < configuration.contextLength else {
      throw KilnError(
        .argument, "the prompt has \(prompt.count) tokens, the model's context is \(configuration.contextLength)",
        hint: "shorten the prompt")
    }
    guard count > 0 else { return [] }
    let capacity = min(prompt.count + count, configuration.contextLength)
    let first = try Decoder(model, precision, time: prompt.count, capacity: capacity, context, store)
    let next = try Decoder(model, precision, time: 1, capacity: capacity, context, store)
    var logits = try first.logits(after: prompt, at: 0)
    var tokens: [Int32] = []
    for position in prompt.count...capacity {
      let token = Int32(sampling.choose(logits, draw: try draw(position, sampling.seed)))
      tokens.append(token)
      onToken(token)
      if tokens.count == count || position == capacity || shouldStop(token) { break }
      logits = try next.logits(after: [token], at: position)
    }
    return tokens
  }

  /// A number in 0 ..< 1 that is a function of the seed and the position.
  private func draw(_ position: Int, _ seed: UInt64) throws(KilnError) -> Double {
    let number = try Tensor(zeros: [1], .float64, on: context)
    try context.randomUniform(number, 0..<1, key: RandomKey(seed: seed, step: UInt64(position)))
    return number.doubles()[0]
  }
}

/// The forward pass of `time` new tokens over a cache.
private final class Decoder {
  private let session: Session
  private let logits: Value
  private let time: Int

  init(
    _ model: any LanguageModel, _ precision: Precision, time: Int, capacity: Int, _ context: Context,
    _ store: ParameterStore
  ) throws(KilnError) {
    let graph = Graph(precision: precision.forInference, hasMasters: false)
    let configuration = model.configuration
    let cache = KVCache(capacity: capacity, width: configuration.kvHeads * configuration.headWidth, in: graph)
    self.time = time
    logits = try model.nextLogits(in: graph, batch: 1, time: time, cache: cache)
    session = try Session(try Planner(context: context).plan(graph, outputs: [logits]), context: context, store: store)
  }

  func logits(after tokens: [Int32], at position: Int) throws(KilnError) -> [Float] {
    session.input("tokens")?.copy(from: tokens)
    session.input("positions")?.copy(from: (0..<Int32(time)).map { Int32(position) + $0 })
    session.input("position")?.scalar = Double(position)
    try session.run()
    return session.tensor(of: logits).floats()
  }
}
