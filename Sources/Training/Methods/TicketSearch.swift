import Foundation
import KilnKernels

/// A way to find what is trained by training before: several runs, one after the other, in folders of one.
///
/// ```swift
/// let search = try configuration.ticketSearch(out: url)
/// try search?.begin()
/// for index in search.stages.indices {
///   let stage = search.stages[index]
///   try search.prepare(stage)
///   … a Trainer of stage.configuration, in stage.out, resuming stage.point(), until search.isOver …
/// }
/// try search.finish()
/// ```
public protocol TicketSearch {
  var configuration: TrainingConfiguration { get }
  var out: URL { get }

  /// In order; what each begins with is known when those before it are done.
  var stages: [TicketStage] { get }

  /// Makes a stage that is not begun yet ready.
  func prepare(_ stage: TicketStage) throws(KilnError)

  /// Of a stage, when so many steps of the run are done.
  func isOver(_ stage: TicketStage, _ trainer: Trainer, done: Int) throws(KilnError) -> Bool
}

/// One training of several.
public struct TicketStage: Sendable {
  /// Also of its folder, but for spaces.
  public let name: String
  public let configuration: TrainingConfiguration
  public let out: URL
  /// Whether nothing of it is left to do.
  public let isFinished: Bool

  init(_ name: String, _ configuration: TrainingConfiguration, in out: URL, isFinished: Bool = false) {
    self.name = name
    self.configuration = configuration
    self.out = out.appendingPathComponent(name.replacingOccurrences(of: " ", with: "-"))
    self.isFinished =
      isFinished || FileManager.default.fileExists(atPath: self.out.appendingPathComponent("config.json").path)
  }

  /// Where it goes on; nil for one that is not begun.
  public func point() throws(KilnError) -> ResumePoint? {
    FileManager.default.fileExists(atPath: out.path) ? try TrainingConfiguration.resume(out) : nil
  }
}

extension TrainingConfiguration {
  /// Nil where one run is enough.
  public func ticketSearch(out: URL) throws(KilnError) -> (any TicketSearch)? {
    switch sparsity {
    case .lottery: try LotteryTickets(self, out: out)
    case .earlyBird, .earlyBERT: try EarlyTickets(self, out: out)
    default: nil
    }
  }

  /// The same of a model as it is, with all that a ticket's stages do not have.
  var beforeSearch: Self {
    var dense = self
    dense.sparsity = nil
    (dense.density, dense.block, dense.layerDensity) = (nil, nil, nil)
    (dense.rounds, dense.rewind, dense.rewinding) = (nil, nil, nil)
    (dense.patternEvery, dense.drawStep, dense.slimming) = (nil, nil, nil)
    return dense
  }

  /// The same of another model, in a folder.
  func beginning(with model: String) -> Self {
    var result = self
    // The rate depends on whether there was a model before.
    (result.model, result.lr) = (model, peakRate)
    (result.arch, result.layers, result.heads, result.kvHeads) = (nil, nil, nil, nil)
    (result.width, result.hidden, result.vocabSize, result.tokenizer) = (nil, nil, nil, nil)
    return result
  }
}

extension TicketSearch {
  /// Makes the output directory, which must not be there yet; from then on the run can be resumed.
  public func begin() throws(KilnError) {
    try RunState.checkIsNew(out)
    try RunState.begin(out, configuration)
  }

  /// The ticket stands at the output directory, where other tools look.
  public func finish() throws(KilnError) {
    guard let last = stages.last?.out else { return }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: last.path)) ?? []
    for name in names where name != "checkpoints" && name != RunState.configurationName {
      let target = out.appendingPathComponent(name)
      try? FileManager.default.removeItem(at: target)
      do {
        try FileManager.default.copyItem(at: last.appendingPathComponent(name), to: target)
      } catch {
        throw KilnError(.file, "'\(target.path)' cannot be written: \(error.localizedDescription)")
      }
    }
  }

  func folder(_ name: String) -> URL { out.appendingPathComponent(name) }

  /// The newest checkpoint of a run; nil where there is none.
  static func checkpoint(of run: URL) -> ResumePoint? {
    (try? TrainingConfiguration.resume(run)).flatMap { $0.folder == nil ? nil : $0 }
  }
}
