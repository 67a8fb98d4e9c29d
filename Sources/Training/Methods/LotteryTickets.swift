import Foundation
import KilnCheckpoints
import KilnKernels

/// Lottery tickets by iterative magnitude pruning with rewinding (Frankle & Carbin, arXiv 1803.03635; Frankle et al., arXiv
/// 1912.05671): train, keep the largest weights of each layer, put them back to what they were at an early step, train
/// again; in rounds, each of which keeps the same share of what is left. Or weights stay, and the learning rate alone goes
/// back (Renda et al., arXiv 2003.02389).
///
/// ```swift
/// let tickets = try LotteryTickets(configuration, out: url)
/// try tickets.begin()
/// for stage in tickets.stages { … a Trainer of stage.configuration, in stage.out … }
/// try tickets.finish()
/// ```
public struct LotteryTickets {
  public enum Rewinding: String, Sendable, Hashable, Codable, CaseIterable { case weights, rate }

  /// One training, whose run lies in a folder of its own.
  public struct Stage: Sendable {
    public let name: String
    public let configuration: TrainingConfiguration
    public let out: URL
    /// Where it ends before its schedule does.
    public let stopAfter: Int?

    /// Whether nothing of it is left to do.
    public var isFinished: Bool {
      FileManager.default.fileExists(atPath: out.appendingPathComponent("config.json").path)
        || stopAfter != nil && LotteryTickets.checkpoint(of: out) != nil
    }
  }

  public static let defaultRounds = 5
  /// Of the steps, where weights are put back to.
  static let defaultRewind = 0.05

  public let configuration: TrainingConfiguration
  public let out: URL
  private let rewind: Int
  private let rounds: Int

  /// - Parameter configuration: with `sparsity` `.lottery` and a number of steps.
  public init(_ configuration: TrainingConfiguration, out: URL) throws(KilnError) {
    try configuration.validate()
    guard configuration.sparsity == .lottery, let steps = configuration.steps else {
      throw KilnError(
        .argument, "--sparsity lottery trains for a number of steps again and again", hint: "give --steps")
    }
    self.configuration = configuration
    self.out = out
    rounds = configuration.rounds ?? Self.defaultRounds
    rewind = configuration.rewind ?? Int(Double(steps) * Self.defaultRewind)
    guard rewind < steps else {
      throw KilnError(.argument, "--rewind \(rewind) is not before the last of --steps \(steps)")
    }
  }

  /// Makes the output directory, which must not be there yet; from then on the run can be resumed.
  public func begin() throws(KilnError) {
    try RunState.checkIsNew(out)
    try RunState.begin(out, configuration)
  }

  /// In order; each begins with what those before it have left.
  public var stages: [Stage] {
    // Where it is to be put back to the first step the seed tells what weights were.
    let start = rewind > 0 ? [Stage(name: "start", configuration: dense, out: folder("start"), stopAfter: rewind)] : []
    let whole = Stage(name: "round 0", configuration: dense, out: folder("round-0"), stopAfter: nil)
    return start + [whole]
      + (1...rounds).map { round in
        Stage(name: "round \(round)", configuration: pruned(round), out: folder("round-\(round)"), stopAfter: nil)
      }
  }

  /// Makes a stage that is not begun yet ready: the first round goes on from the start.
  public func prepare(_ stage: Stage) throws(KilnError) {
    let start = folder("start")
    guard stage.name == "round 0", rewind > 0, !FileManager.default.fileExists(atPath: stage.out.path) else { return }
    do {
      try FileManager.default.copyItem(at: start, to: stage.out)
    } catch {
      throw KilnError(.file, "'\(start.path)' cannot be copied: \(error.localizedDescription)")
    }
  }

  /// The ticket stands at the output directory, where other tools look.
  public func finish() throws(KilnError) {
    let last = folder("round-\(rounds)")
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

  private func folder(_ name: String) -> URL { out.appendingPathComponent(name) }

  private var dense: TrainingConfiguration {
    var dense = configuration
    dense.sparsity = nil
    (dense.density, dense.block, dense.layerDensity) = (nil, nil, nil)
    (dense.rounds, dense.rewind, dense.rewinding) = (nil, nil, nil)
    return dense
  }

  private func pruned(_ round: Int) -> TrainingConfiguration {
    var pruned = dense
    pruned.sparsity = .magnitude
    pruned.density = pow(configuration.density ?? TrainingConfiguration.defaultDensity, Double(round) / Double(rounds))
    pruned.block = configuration.block
    pruned.layerDensity = configuration.layerDensity ?? .uniform
    pruned.patternFrom = folder("round-\(round - 1)").path
    pruned.startStep = rewind
    let source =
      configuration.rewinding == .rate
      ? pruned.patternFrom : rewind > 0 ? Self.checkpoint(of: folder("start"))?.path : configuration.model
    guard let source, source != configuration.model else { return pruned }
    pruned.model = source
    pruned.lr = configuration.peakRate
    (pruned.arch, pruned.layers, pruned.heads, pruned.kvHeads) = (nil, nil, nil, nil)
    (pruned.width, pruned.hidden, pruned.vocabSize, pruned.tokenizer) = (nil, nil, nil, nil)
    return pruned
  }

  /// The newest of a run; nil where there is none.
  private static func checkpoint(of run: URL) -> URL? { (try? TrainingConfiguration.resume(run))?.folder }
}
