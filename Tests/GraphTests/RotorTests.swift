import KilnTestSupport
import Testing

@testable import KilnGraph

/// Rotor's schedules: that they keep their budget when they are carried out, and how far they are from the best of all
/// schedules, which Checkmate (Jain et al., arXiv 1910.02653) finds.
struct RotorTests {
  private static func chain(_ count: Int, seed: UInt64) -> [Rotor.Stage] {
    let numbers = pseudoRandom(4 * count, seed: seed).map { ($0 + 1) / 2 }
    return (0..<count).map { index in
      let output = 1 + Int(numbers[4 * index] * 4)
      return Rotor.Stage(
        forward: 1 + Double(Int(numbers[4 * index + 1] * 5)), backward: 2, output: index + 1 < count ? output : 0,
        all: output + Int(numbers[4 * index + 2] * 6), forwardPeak: output, backwardPeak: 0)
    }
  }

  /// The time of a schedule: every stage forward and backward once, and forward again where the schedule says so.
  private func execute(_ schedule: [[Int]], _ stages: [Rotor.Stage]) -> Double {
    var time = stages.reduce(0) { $0 + $1.forward }
    for stage in stages.indices.reversed() {
      time += schedule[stage].reduce(0) { $0 + stages[$1].forward } + stages[stage].backward
    }
    return time
  }

  @Test(arguments: 1...6 as ClosedRange<UInt64>) func timesAreThoseOfTheSchedules(seed: UInt64) throws {
    let stages = Self.chain(9, seed: seed)
    let rotor = Rotor(stages)
    var last = 0.0
    var distinct: Set<Double> = []
    for slots in (0...Rotor.slots).reversed() {
      guard let schedule = rotor.schedule(slots: slots) else { break }
      let time = rotor.time(slots: slots)
      #expect(abs(execute(schedule, stages) - time) < 1e-9)
      #expect(time >= last, "less memory took less time")
      last = time
      distinct.insert(time)
      // A stage runs again only if all it needs is there: its input is kept, or the stage before has just run.
      for again in schedule { #expect(zip(again, again.dropFirst()).allSatisfy { $0.1 == $0.0 + 1 || $0.1 <= $0.0 }) }
    }
    #expect(distinct.count > 3)
    #expect(rotor.time(slots: Rotor.slots) == execute([[Int]](repeating: [], count: 9), stages))
  }

  /// Rotor keeps what it has once chosen to keep until its backward, which costs little: on average over all budgets less
  /// than an eighth of the time, here, where stages differ more than a model's.
  @Test(arguments: 1...6 as ClosedRange<UInt64>) func closeToCheckmate(seed: UInt64) throws {
    let stages = Self.chain(6, seed: seed)
    let rotor = Rotor(stages)
    let most = stages.reduce(0) { $0 + $1.all } + stages.map { max($0.forwardPeak, $0.output) }.max()!
    #expect(most <= Rotor.slots, "a slot is a unit")
    let ratios = (1...most).compactMap { budget -> Double? in
      let time = rotor.time(slots: budget)
      return time.isFinite ? Checkmate(stages).time(within: budget).map { time / $0 } : nil
    }
    #expect(ratios.count > 10 && ratios.allSatisfy { $0 > 1 - 1e-9 }, "better than the optimum")
    #expect(ratios.max()! <= 1.4)
    #expect(ratios.reduce(0, +) / Double(ratios.count) <= 1.13)
  }
}

/// The least time of forward and backward of a chain within a budget, over all orders of running stages and of keeping and
/// dropping what they make: Dijkstra's search over what is kept. For small chains.
private struct Checkmate {
  private let stages: [Rotor.Stage]

  init(_ stages: [Rotor.Stage]) { self.stages = stages }

  /// What is in memory: of each stage nothing, its output, or all; and how many backwards are still to come.
  private struct State: Hashable {
    var kept: [Int8]
    var left: Int
  }

  func time(within budget: Int) -> Double? {
    let start = State(kept: [Int8](repeating: 0, count: stages.count), left: stages.count)
    var best: [State: Int] = [start: 0]
    var queue = [[start]]  // by time, which is whole
    var time = 0
    while time < queue.count {
      guard let state = queue[time].popLast() else {
        time += 1
        continue
      }
      guard best[state] == time else { continue }
      if state.left == 0 { return Double(time) }
      for (following, cost) in moves(from: state, budget) where time + cost < best[following] ?? .max {
        best[following] = time + cost
        while queue.count <= time + cost { queue.append([]) }
        queue[time + cost].append(following)
      }
    }
    return nil
  }

  private func bytes(_ kept: [Int8]) -> Int {
    zip(kept, stages).reduce(0) { $0 + ($1.0 == 0 ? 0 : $1.0 == 1 ? $1.1.output : $1.1.all) }
  }

  private func moves(from state: State, _ budget: Int) -> [(State, Int)] {
    var result: [(State, Int)] = []
    for stage in 0..<state.left {
      // Dropping is free.
      for less in 0..<state.kept[stage] {
        var next = state
        next.kept[stage] = less
        result.append((next, 0))
      }
      // Running forward, from the input, to leave the output or all.
      guard stage == 0 || state.kept[stage - 1] > 0 else { continue }
      for level in [1, 2] as [Int8] where level > state.kept[stage] {
        var next = state
        next.kept[stage] = level
        var others = state.kept
        others[stage] = 0
        let own = level == 1 ? stages[stage].forwardPeak : max(stages[stage].forwardPeak, stages[stage].all)
        guard bytes(others) + own <= budget else { continue }
        result.append((next, Int(stages[stage].forward)))
      }
    }
    let stage = state.left - 1
    if state.kept[stage] == 2, bytes(state.kept) + stages[stage].output + stages[stage].backwardPeak <= budget {
      var next = state
      next.kept[stage] = 0
      next.left = stage
      result.append((next, Int(stages[stage].backward)))
    }
    return result
  }
}
