/// What the runs of an experiment say, for each task: every arm at the best of its learning rates.
public enum TrainingTable {
  static let header = [
    "arm", "lr", "held-out loss", "from .. to", "seeds", "against", "by lr, least first", "training loss at equal time",
    "at equal work", "ms a step", "seconds", "work", "state B/param", "others",
  ]

  /// - Parameter arms: the first one is what the others are held against; arms that are not named come last.
  public static func markdown(_ runs: [TrainingRun], arms: [String]) -> String {
    unique(runs.map(\.key.task)).map { task in
      let mine = runs.filter { $0.key.task == task }
      let names = unique(arms + mine.map(\.key.arm)).filter { name in mine.contains { $0.key.arm == name } }
      return section(task, names.map { name in ArmSummary(name, mine.filter { $0.key.arm == name }) })
    }.joined(separator: "\n\n")
  }

  private static func section(_ task: String, _ arms: [ArmSummary]) -> String {
    guard let first = arms.first else { return "" }
    let fastest = arms.filter { !$0.best.isEmpty }.min { $0.seconds < $1.seconds } ?? first
    var table = TextTable(header)
    table.header[5] += " \(first.name)"
    let least = arms.filter { !$0.best.isEmpty }.compactMap(\.work).min()
    table.rows = arms.map { row($0, seconds: fastest.seconds, work: least, against: first) }
    let commits = unique(arms.flatMap(\.runs).map(\.commit)).joined(separator: ", ")
    return "**\(task)**\n\n\(table.markdown)\n\n"
      + "Equal time is \(Format.number(fastest.seconds)) s, which the steps of \(fastest.name) take; equal work is that of the "
      + "arm with the least. Commit \(commits)."
  }

  private static func row(_ arm: ArmSummary, seconds: Double, work: Double?, against first: ArmSummary) -> [String] {
    let losses = arm.best.compactMap(\.heldOut)
    let state = arm.runs.first.map { Double($0.stateBytes) / Double($0.parameters) } ?? 0
    return [
      arm.name, arm.rate.map { "\($0)" + (arm.isAtEdge ? " (edge)" : "") } ?? (arm.best.isEmpty ? "-" : "own"),
      arm.best.isEmpty ? "diverged" : Format.fixed(heldOut(arm.best), 3),
      Spread(losses).map { "\(Format.fixed($0.low, 3)) .. \(Format.fixed($0.high, 3))" } ?? "",
      "\(arm.best.count)", difference(arm, first), arm.rates.map(grid).joined(separator: " "),
      loss(arm, atStep: (seconds - arm.search.seconds) / arm.secondsPerStep),
      loss(arm, atStep: work.flatMap { work in arm.workPerStep.map { (work - arm.search.work) / $0 } }),
      Format.number(arm.secondsPerStep * 1e3), Format.number(arm.seconds),
      arm.work.flatMap { mine in first.work.map { Format.fixed(mine / $0, 2) } } ?? "", Format.fixed(state, 2),
      arm.runs.compactMap(\.foreignLoad).max().map { Format.fixed($0, 2) } ?? "?",
    ]
  }

  /// The mean training loss after so many steps, which may be fewer than none.
  private static func loss(_ arm: ArmSummary, atStep step: Double?) -> String {
    guard let step, step > 0 else { return "-" }
    let losses = arm.best.compactMap { $0.loss(atStep: step) }
    return losses.isEmpty ? "-" : Format.fixed(Statistics(losses).mean, 3)
  }

  /// The mean held-out loss at one learning rate.
  private static func grid(_ runs: [TrainingRun]) -> String {
    runs.contains(where: \.diverged) ? "diverged" : Format.fixed(heldOut(runs), 3)
  }

  /// The mean over the seeds that both have, and the standard deviation of the differences of single seeds, which have
  /// the initial weights and the order of the data in common.
  private static func difference(_ arm: ArmSummary, _ first: ArmSummary) -> String {
    guard arm.name != first.name else { return "" }
    let differences = arm.best.compactMap { run in
      first.best.first { $0.key.seed == run.key.seed }?.heldOut.flatMap { other in run.heldOut.map { $0 - other } }
    }
    guard !differences.isEmpty else { return "-" }
    let statistics = Statistics(differences)
    let sign = statistics.mean < 0 ? "" : "+"
    return sign + Format.fixed(statistics.mean, 3)
      + (differences.count > 1 ? " ± \(Format.fixed(statistics.deviation, 3))" : "")
  }
}

/// The runs of one arm in one task.
private struct ArmSummary {
  let name: String
  let runs: [TrainingRun]
  /// By learning rate, the least first.
  let rates: [[TrainingRun]]
  /// Those at the learning rate with the least held-out loss of the first seed, among rates at which no seed diverged.
  let best: [TrainingRun]
  let secondsPerStep: Double

  init(_ name: String, _ runs: [TrainingRun]) {
    self.name = name
    self.runs = runs
    secondsPerStep = Spread(runs.map(\.secondsPerStep).filter { $0 > 0 })?.median ?? 0
    rates = unique(runs.map(\.key.lr)).sorted { ($0 ?? 0) < ($1 ?? 0) }
      .map { rate in runs.filter { $0.key.lr == rate } }
    best = rates.filter { !$0.contains(where: \.diverged) }.min { firstLoss($0) < firstLoss($1) } ?? []
  }

  /// Of a whole run, with what came before it.
  var seconds: Double { search.seconds + secondsPerStep * steps }
  var work: Double? { workPerStep.map { search.work + $0 * steps } }
  var workPerStep: Double? { runs.first?.workPerStep }
  var search: TrainingRun.Search { runs.first?.search ?? .init() }
  /// That it takes itself.
  private var steps: Double { Double(runs.first?.curve.last?.step ?? 0) }
  var rate: Double? { best.first?.key.lr }

  /// Whether a rate beyond those tried may be better still.
  var isAtEdge: Bool { rates.count > 1 && (best == rates.first || best == rates.last) }
}

/// The held-out loss of the first seed.
private func firstLoss(_ runs: [TrainingRun]) -> Double {
  runs.min { $0.key.seed < $1.key.seed }?.heldOut ?? .infinity
}

/// The mean held-out loss.
private func heldOut(_ runs: [TrainingRun]) -> Double { Statistics(runs.compactMap(\.heldOut)).mean }

/// Each value once, in order.
public func unique<Value: Hashable>(_ values: [Value]) -> [Value] {
  var seen: Set<Value> = []
  return values.filter { seen.insert($0).inserted }
}
