import Foundation

/// How long cases are measured.
public struct Effort: Sendable {
  /// Rounds of a case at least, and of one whose round takes longer than `slow` seconds.
  public var rounds = 5
  public var slowRounds = 3
  public var slow = 3.0
  public var mostRounds = 15
  /// Seconds of a case beyond the least rounds.
  public var budget = 1.5
  /// Seconds of one contender's block of runs in a round.
  public var block = 0.08

  public init() {}

  /// Whether a share that is not possible fails the bench.
  public var checksShares = true

  /// Enough to see that everything works: no figure of it means anything.
  public static var quick: Effort {
    var effort = Effort()
    effort.checksShares = false
    (effort.rounds, effort.slowRounds, effort.mostRounds, effort.budget, effort.block) = (1, 1, 1, 0, 0.01)
    return effort
  }

  func rounds(roundSeconds: Double) -> Int {
    let least = roundSeconds > slow ? slowRounds : rounds
    return min(max(least, Int(budget / max(roundSeconds, 1e-6))), max(least, mostRounds))
  }
}

/// Runs cases: ceiling, contender, contender, ceiling, contender, contender, ... with one at work at a time.
public final class Runner {
  private let meter: CeilingMeter
  private let effort: Effort
  /// Seconds to wait before somebody else works: threads of a pool spin for a moment after their work.
  private let pause: Double
  /// What must fail the bench, in the order found.
  public private(set) var failures: [String] = []

  public init(_ meter: CeilingMeter, effort: Effort, pause: Double = 0.04) {
    self.meter = meter
    self.effort = effort
    self.pause = pause
  }

  public func run(_ item: Case) -> CaseResult {
    var result = CaseResult(
      family: item.family, name: item.name, cost: item.cost, unit: meter.resolve(item.unit), total: item.total,
      ceiling: Ceiling(flops: 0, bytes: 0), contenders: item.contenders.map { ContenderResult(name: $0.name) })
    let ready = item.contenders.indices.filter { prepare(item.contenders[$0], &result.contenders[$0], item) }
    if !ready.isEmpty { measure(item, ready, &result) }
    for contender in item.contenders { contender.release() }
    result.figures = item.figures(result)
    checkBound(item, result)
    return result
  }

  private func prepare(_ contender: any Contender, _ result: inout ContenderResult, _ item: Case) -> Bool {
    do {
      result.note = try contender.prepare()
      return true
    } catch {
      fail(item, &result, error)
      return false
    }
  }

  private func fail(_ item: Case, _ result: inout ContenderResult, _ error: any Error) {
    result.unavailable = "\(error)"
    if !(error is Unavailable) { failures.append("\(item.family): \(item.name): \(result.name): \(error)") }
  }

  private func measure(_ item: Case, _ ready: [Int], _ result: inout CaseResult) {
    var times: [Int: Int] = [:]
    var roundSeconds = 0.0
    for index in ready {
      guard let pilot = time(item, index, times: 1, &result) else { continue }
      times[index] = max(1, Int(effort.block / max(pilot.seconds, 1e-7)))
      roundSeconds += max(pilot.seconds, effort.block)
    }
    let load = ForeignLoad(processes: item.contenders.compactMap(\.process))
    var samples: [Int: [Double]] = [:]
    var ceilings = [ceiling(item)]
    for round in 0..<effort.rounds(roundSeconds: roundSeconds) {
      let order = ready.indices.map { ready[($0 + round) % ready.count] }
      for index in order {
        guard let count = times[index], let timing = time(item, index, times: count, &result) else { continue }
        samples[index, default: []].append(timing.seconds / Double(count))
        result.contenders[index].note(timing)
      }
      ceilings.append(ceiling(item))
    }
    result.foreignLoad = load.mean()
    summarize(item, samples, ceilings, &result)
  }

  /// One block of a contender; a fault takes it out of the rest of the case.
  private func time(_ item: Case, _ index: Int, times: Int, _ result: inout CaseResult) -> Timing? {
    guard result.contenders[index].unavailable == nil else { return nil }
    Thread.sleep(forTimeInterval: pause)
    do {
      return try item.contenders[index].run(times)
    } catch {
      fail(item, &result.contenders[index], error)
      return nil
    }
  }

  private func ceiling(_ item: Case) -> Ceiling {
    Thread.sleep(forTimeInterval: pause)
    return meter.measure(for: item.cost, item.unit)
  }

  private func summarize(
    _ item: Case, _ samples: [Int: [Double]], _ ceilings: [Ceiling], _ result: inout CaseResult
  ) {
    result.ceiling = Ceiling(
      flops: Spread(ceilings.map(\.flops))?.median ?? 0, bytes: Spread(ceilings.map(\.bytes))?.median ?? 0)
    for (index, seconds) in samples where result.contenders[index].unavailable == nil {
      // A disturbance makes a ceiling too low, never too high: the better of the ones before and after counts.
      let around = seconds.indices.map { ceilings[$0].better(ceilings[$0 + 1]) }
      let shares = zip(seconds, around).map { $1.seconds(for: item.cost) / $0 }
      result.contenders[index].seconds = Spread(seconds)
      result.contenders[index].share = item.isBounded && shares.allSatisfy { $0 > 0 } ? Spread(shares) : nil
      if index > 0, let first = samples[0], first.count == seconds.count {
        result.contenders[index].ratio = Spread(zip(seconds, first).map { $0 / $1 })
      }
    }
  }

  /// Kiln's own figures cannot be above what the machine can do: then the bench measures something else.
  private func checkBound(_ item: Case, _ result: CaseResult) {
    guard effort.checksShares, let share = result.contenders.first?.share?.median, share > 1.02 else { return }
    failures.append(
      "\(result.key): \(Format.fixed(share, 3)) of its ceiling is not possible: one of them is measured wrongly"
        + " (others used \(result.foreignLoad.map { Format.fixed($0, 2) } ?? "?") CPUs meanwhile)")
  }
}
