import Foundation
import KilnCheckpoints
import KilnKernels

/// Lottery tickets by iterative magnitude pruning with rewinding (Frankle & Carbin, arXiv 1803.03635; Frankle et al., arXiv
/// 1912.05671): train, keep the largest weights of each layer, put them back to what they were at an early step, train
/// again; in rounds, each of which keeps the same share of what is left. Or weights stay, and the learning rate alone goes
/// back (Renda et al., arXiv 2003.02389).
public struct LotteryTickets: TicketSearch {
  public enum Rewinding: String, Sendable, Hashable, Codable, CaseIterable {
    case weights, rate
    /// The control: the last round begins with new weights.
    case reinitialized
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

  public var stages: [TicketStage] {
    // Where it is to be put back to the first step the seed tells what weights were.
    let start = rewind > 0 ? [TicketStage("start", dense, in: out, isFinished: start != nil)] : []
    return start + [TicketStage("round 0", dense, in: out)]
      + (1...rounds).map { TicketStage("round \($0)", pruned($0), in: out) }
  }

  /// The first round goes on from the start.
  public func prepare(_ stage: TicketStage) throws(KilnError) {
    let start = folder("start")
    guard stage.name == "round 0", rewind > 0, !FileManager.default.fileExists(atPath: stage.out.path) else { return }
    do {
      try FileManager.default.copyItem(at: start, to: stage.out)
    } catch {
      throw KilnError(.file, "'\(start.path)' cannot be copied: \(error.localizedDescription)")
    }
  }

  public func isOver(_ stage: TicketStage, _ trainer: Trainer, done: Int) -> Bool {
    stage.name == "start" && done >= rewind
  }

  /// The checkpoint that weights are put back to.
  private var start: URL? {
    Self.checkpoint(of: folder("start")).flatMap { $0.state.step >= rewind ? $0.folder : nil }
  }

  private var dense: TrainingConfiguration { configuration.beforeSearch }

  private func pruned(_ round: Int) -> TrainingConfiguration {
    var pruned = dense
    pruned.sparsity = .magnitude
    pruned.density = pow(configuration.density ?? TrainingConfiguration.defaultDensity, Double(round) / Double(rounds))
    pruned.block = configuration.block
    pruned.layerDensity = configuration.layerDensity ?? .uniform
    let trained = folder("round-\(round - 1)").path
    pruned.patternFrom = trained
    pruned.startStep = rewind
    if configuration.rewinding == .rate { return pruned.beginning(with: trained) }
    if configuration.rewinding == .reinitialized, round == rounds {
      (pruned.seed, pruned.startStep) = (configuration.seed &+ 1, nil)
      return pruned
    }
    return start.map { pruned.beginning(with: $0.path) } ?? pruned
  }
}
