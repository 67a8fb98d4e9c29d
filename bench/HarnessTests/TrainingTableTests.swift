// Training runs as lines of a file and as a table. Nothing is trained here.

import Foundation
import Testing

@testable import Harness

private func run(
  _ arm: String, lr: Double? = 0.1, seed: Int = 0, heldOut: Double?, seconds: Double = 0.1, steps: Int = 100
) -> TrainingRun {
  TrainingRun(
    .init(task: "tiny", arm: arm, lr: lr, seed: seed), commit: "abc", steps: steps,
    losses: (0..<steps).map { 4 - Double($0) / Double(steps) }, seconds: Array(repeating: seconds, count: steps),
    heldOut: heldOut, diverged: heldOut == nil, parameters: 10, stateBytes: 80, planBytes: 1000)
}

private func cells(_ runs: [TrainingRun], arms: [String] = ["first", "second"]) -> [[String]] {
  TrainingTable.markdown(runs, arms: arms).split(separator: "\n").filter { $0.hasPrefix("| ") }.dropFirst(2)
    .map { $0.dropFirst(2).dropLast(2).components(separatedBy: " | ") }
}

@Test func aRunKeepsItsCurveInThirtyPoints() {
  let result = run("first", heldOut: 1)
  #expect(result.curve.count == 30)
  #expect(result.curve.last?.step == 100)
  #expect(result.curve[0] == .init(step: 3, loss: 3.99))
  #expect(result.lastMean == 3.255)
  #expect(abs(result.lastDeviation - 0.14577) < 1e-5)
  #expect(result.loss(atStep: 0) == 3.99)
  #expect(result.loss(atStep: 1000) == result.curve.last?.loss)
  let middle = (result.curve[0].loss + result.curve[1].loss) / 2
  #expect(abs((result.loss(atStep: 4.5) ?? 0) - middle) < 1e-9)
  #expect(run("first", heldOut: nil, steps: 0).curve.isEmpty)
}

@Test func runsThatAreThereAreKnown() throws {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-bench-\(UUID())").path
  defer { try? FileManager.default.removeItem(atPath: folder) }
  let path = folder + "/training/test.jsonl"
  var results = try TrainingResults(path)
  #expect(results.runs.isEmpty)
  let (first, own) = (run("first", heldOut: 2), run("own", lr: nil, heldOut: nil))
  try results.append(first)
  try results.append(own)
  results = try TrainingResults(path)
  #expect(results.runs == [first, own])
  #expect(results.contains(first.key) && results.contains(own.key))
  #expect(!results.contains(run("first", seed: 1, heldOut: 2).key))
  #expect(!results.contains(run("first", lr: 0.2, heldOut: 2).key))

  // The same run again takes the place of the earlier one.
  try results.append(run("first", heldOut: 1))
  results = try TrainingResults(path)
  #expect(results.runs.map(\.heldOut) == [1, nil])

  try Data("no run\n".utf8).write(to: URL(fileURLWithPath: path))
  #expect(throws: BenchFailure.self) { try TrainingResults(path) }
}

@Test func theBestRateCounts() {
  let grid = [(0.1, 2.5), (0.3, 2.0), (1.0, 2.2)]
  let second = grid.flatMap { lr, loss in
    [run("second", lr: lr, heldOut: loss), run("second", lr: lr, seed: 1, heldOut: loss + 0.2)]
  }
  let rows = cells(second + [run("first", heldOut: 3), run("first", seed: 1, heldOut: 3.1)])
  #expect(rows.map(\.[0]) == ["first", "second"])
  #expect(rows[1][1...4] == ["0.3", "2.100", "2.000 .. 2.200", "2"])
  // The differences of the seeds are -1 and -0.9.
  #expect(rows[1][5] == "-0.950 ± 0.071")
  #expect(rows[1][6] == "2.600 2.100 2.300")
  #expect(rows[1][12] == "8.00")

  let rising = cells([run("first", lr: 0.1, heldOut: 3), run("first", lr: 0.3, heldOut: 2)])
  #expect(rising[0][1] == "0.3 (edge)")
}

@Test func armsThatDivergeSaySo() {
  let runs = [
    run("first", lr: 0.1, heldOut: 3), run("first", lr: 1, heldOut: 1), run("first", lr: 1, seed: 1, heldOut: nil),
    run("second", heldOut: nil, steps: 0),
  ]
  let rows = cells(runs)
  #expect(rows[0][1] == "0.1 (edge)")
  #expect(rows[0][6] == "3.000 diverged")
  #expect(rows[1][1...2] == ["-", "diverged"])
  #expect(rows[1][5] == "-")
  #expect(rows[0][7] == "3.025")
}

@Test func whatCameBeforeARunCounts() {
  var (plain, ticket) = (run("first", heldOut: 3), run("second", heldOut: 3))
  (plain.workPerStep, ticket.workPerStep) = (10, 4)
  ticket.search = .init()
  ticket.search?.add(seconds: [Double](repeating: 0.2, count: 20), workPerStep: 10)
  let rows = cells([plain, ticket])
  // 20 steps of 0.2 s and 100 of 0.1; 200 and 400 operations of 1000.
  #expect(rows.map(\.[10]) == ["10.0", "14.0"] && rows.map(\.[11]) == ["1.00", "0.60"])
  // In 10 s the ticket takes 60 of its steps; for 600 operations the other one takes as many.
  #expect(rows.map(\.[7]) == ["3.025", "3.425"] && rows.map(\.[8]) == ["3.425", "3.025"])
}

@Test func equalTimeIsThatOfTheFastest() {
  let rows = cells([
    run("first", heldOut: 3, seconds: 0.2), run("second", heldOut: 3, seconds: 0.1), run("own", lr: nil, heldOut: 3),
  ])
  // Half of the steps of the first arm, whose loss falls from 4 to 3.
  #expect(rows.map(\.[7]) == ["3.525", "3.025", "3.025"])
  #expect(rows[2][1] == "own")
}
