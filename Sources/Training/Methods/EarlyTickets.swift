import Foundation
import KilnCheckpoints
import KilnGraph
import KilnKernels
import KilnLayers

/// When an early ticket is drawn, and what it begins with.
protocol EarlyTicketRule: Sendable {
  /// Whether it goes on with the weights of the search, or begins anew with those from before it.
  var keepsWeights: Bool { get }

  func isDrawn(_ looks: TicketLooks, done: Int) -> Bool
}

/// Tickets of heads and neurons that are drawn early: a model is trained with a factor on each (`Slimming`), those with the
/// largest are kept, and what they make is a smaller dense model. Each layer keeps as many as any other, so that the smaller
/// model is one of its kind.
public struct EarlyTickets: TicketSearch {
  /// On the factors.
  public static let penalty = 1e-4
  /// Shares that are kept.
  public static let (heads, neurons) = (2.0 / 3, 0.6)

  public let configuration: TrainingConfiguration
  public let out: URL
  private let rule: any EarlyTicketRule
  /// Steps between looks.
  private let every: Int

  /// - Parameter configuration: with `sparsity` `.earlyBird` or `.earlyBERT` and a number of steps.
  public init(_ configuration: TrainingConfiguration, out: URL) throws(KilnError) {
    try configuration.validate()
    guard let sparsity = configuration.sparsity, sparsity.isEarly, let steps = configuration.steps else {
      throw KilnError(
        .argument, "--sparsity \(configuration.sparsity?.rawValue ?? "") draws at a share of the steps",
        hint: "give --steps")
    }
    self.configuration = configuration
    self.out = out
    let step =
      configuration.drawStep ?? max(1, sparsity == .earlyBird ? steps / 2 : Int(Double(steps) * EarlyBERT.share))
    guard step < steps else {
      throw KilnError(.argument, "--draw-step \(step) is not before the last of --steps \(steps)")
    }
    rule = sparsity == .earlyBird ? EarlyBird(latest: step) : EarlyBERT(step: step)
    every = configuration.patternEvery ?? max(1, steps / 50)
  }

  public var stages: [TicketStage] {
    let (looks, point) = (try? TicketLooks(at: looksURL), Self.checkpoint(of: folder("search")))
    let drawn = looks?.drawn.flatMap { step in point.flatMap { $0.state.step >= step ? step : nil } }
    var search = configuration.beforeSearch
    search.slimming = configuration.slimming ?? Self.penalty
    var ticket = configuration.beforeSearch.beginning(with: folder("drawn").path)
    if rule.keepsWeights { ticket.startStep = drawn }
    return [
      TicketStage("search", search, in: out, isFinished: drawn != nil), TicketStage("ticket", ticket, in: out),
    ]
  }

  /// Draws the ticket.
  public func prepare(_ stage: TicketStage) throws(KilnError) {
    let drawn = folder("drawn")
    guard stage.name == "ticket", !FileManager.default.fileExists(atPath: drawn.path) else { return }
    guard let last = try TicketLooks(at: looksURL).last, let point = Self.checkpoint(of: folder("search")) else {
      throw KilnError(.file, "'\(looksURL.path)' has no ticket", hint: "start anew with another --out")
    }
    let context = try Context()
    let before = configuration.beforeSearch
    let source = rule.keepsWeights ? point.folder.map { before.beginning(with: $0.path) } ?? before : before
    let inputs = try Inputs(source, resuming: nil, kernels: context)
    let store = ParameterStore()
    try inputs.fill(store, seed: configuration.seed, precision: .fp32, context: context)
    let (model, weights) = try inputs.model.keeping(last.kept, in: store, context: context)
    let partial = folder(".drawn.partial")
    try Folder.create(partial)
    try ModelFiles.save(model, tokenizer: inputs.tokenizer, to: partial) { (weight) throws(KilnError) in
      try weights.tensor(weight)
    }
    try Folder.rename(partial, to: drawn)
  }

  /// Looks at the factors where that is due.
  public func isOver(_ stage: TicketStage, _ trainer: Trainer, done: Int) throws(KilnError) -> Bool {
    guard stage.name == "search" else { return false }
    let isLast = rule.isDrawn(TicketLooks(), done: done)
    guard done % every == 0 || isLast else { return false }
    var looks = (try? TicketLooks(at: looksURL)) ?? TicketLooks()
    looks.append(try kept(by: trainer), afterStep: done)
    if rule.isDrawn(looks, done: done) { looks.drawn = done }
    try looks.write(to: looksURL)
    return looks.drawn != nil
  }

  /// The units with the largest factors, layer by layer.
  private func kept(by trainer: Trainer) throws(KilnError) -> [TicketLooks.Layer] {
    var kept: [TicketLooks.Layer] = []
    for units in trainer.model.units {
      guard let factors = units.consumer.weight.factors else { continue }
      let share = configuration.density ?? (units.kind == .heads ? Self.heads : Self.neurons)
      let count = max(1, Int((Double(units.count) * share).rounded()))
      let sizes = try trainer.store.tensor(factors).floats().map(abs)
      kept.append(.init(kind: units.kind, of: units.count, kept: Selection.largest(count, of: sizes)))
    }
    return kept
  }

  private var looksURL: URL { folder("looks.json") }
}

extension LanguageModel {
  /// The smaller model that keeps these units, as many in each layer, with its weights.
  func keeping(
    _ kept: [TicketLooks.Layer], in store: ParameterStore, context: Context
  ) throws(KilnError) -> (model: any LanguageModel, weights: ParameterStore) {
    var configuration = configuration
    for layer in kept { configuration = configuration.keeping(layer.kept.count, of: layer.kind) }
    // Of each tensor by name: the outputs and the inputs that stay.
    var (outputs, inputs): ([String: [Int]], [String: [Int]]) = ([:], [:])
    for (units, layer) in zip(units, kept) {
      for producer in units.producers {
        let stay = Self.places(layer.kept, of: units.count, in: producer.outputs, parts: producer.parts)
        for parameter in [producer.weight, producer.bias].compactMap({ $0 }) { outputs[parameter.name] = stay }
      }
      inputs[units.consumer.weight.name] = Self.places(layer.kept, of: units.count, in: units.consumer.inputs)
    }
    let (small, weights) = (configuration.makeModel(), ParameterStore())
    let large = Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, $0) })
    for parameter in small.parameters {
      guard let whole = large[parameter.name] else { continue }
      let from = whole.outputsByInputs(try store.tensor(whole))
      let rows = outputs[parameter.name] ?? Array(0..<from.shape[0])
      let columns = from.shape.rank == 1 ? [0] : inputs[parameter.name] ?? Array(0..<from.shape[1])
      let dense = try Tensor(zeros: from.shape)
      try context.copy(dense, from)
      let (values, width) = (dense.floats(), from.shape.rank == 1 ? 1 : from.shape[1])
      let picked = rows.flatMap { row in columns.map { values[row * width + $0] } }
      let to = parameter.outputsByInputs(try weights.tensor(parameter))
      try context.copy(to, try Tensor(picked, to.shape))
    }
    return (small, weights)
  }

  /// The elements of units among so many in a row, part by part.
  private static func places(_ kept: [Int], of count: Int, in elements: Int, parts: Int = 1) -> [Int] {
    let width = elements / (parts * count)
    return (0..<parts).flatMap { part in
      kept.flatMap { unit in (0..<width).map { (part * count + unit) * width + $0 } }
    }
  }
}
