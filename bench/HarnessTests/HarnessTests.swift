// The harness itself: statistics, tables, files and the order of rounds. No test here measures time.

import Foundation
import Harness
import Testing

/// A contender that takes as long as it is told.
private final class Fake: Contender {
  let name: String
  let seconds: Double
  let fault: (any Error)?
  private(set) var released = false

  init(_ name: String, seconds: Double, fault: (any Error)? = nil) {
    (self.name, self.seconds, self.fault) = (name, seconds, fault)
  }

  func prepare() throws -> String? {
    if let fault { throw fault }
    return nil
  }
  func run(_ times: Int) throws -> Timing { Timing(seconds: seconds * Double(times), peakResident: 5 << 20) }
  func release() { released = true }
}

private func quickRunner() throws -> Runner {
  let meter = try CeilingMeter(threads: 1, memoryBytes: 1 << 20)
  meter.seconds = 0.001
  var effort = Effort.quick
  effort.checksShares = true
  return Runner(meter, effort: effort, pause: 0)
}

private func entry(_ name: String, _ seconds: Double, share: Double? = nil) -> ContenderResult {
  var entry = ContenderResult(name: name)
  entry.seconds = Spread([seconds])
  entry.share = share.flatMap { Spread([$0]) }
  return entry
}

private func results(seconds: Double = 1, commit: String = "abc", name: String = "one") -> Results {
  var results = Results(
    machine: Machine(threads: 2, isa: "avx2"), commit: Commit(name: commit, dirty: false), ceilings: [])
  results.cases = [
    CaseResult(
      family: "gemm", name: name, cost: Cost(flops: 1e9), unit: .fma, total: "all",
      ceiling: Ceiling(flops: 2e9, bytes: 0),
      contenders: [entry("kiln", seconds, share: 0.5), entry("peer", 2 * seconds)])
  ]
  return results
}

@Test func spreadIsTheMedianAndTheEnds() throws {
  #expect(Spread([]) == nil)
  let odd = try #require(Spread([3, 1, 2]))
  #expect([odd.median, odd.low, odd.high] == [2, 1, 3])
  #expect(Spread([4, 1, 2, 3])?.median == 2.5)
}

@Test func theLongerOfArithmeticAndMemoryBounds() {
  let ceiling = Ceiling(flops: 100, bytes: 10)
  #expect(ceiling.seconds(for: Cost(flops: 100, bytes: 5)) == 1)
  #expect(ceiling.seconds(for: Cost(flops: 100, bytes: 20)) == 2)
}

@Test func contendersAreComparedAndReleased() throws {
  let fakes = [Fake("kiln", seconds: 2), Fake("peer", seconds: 3), Fake("gone", seconds: 1, fault: Unavailable("no"))]
  let runner = try quickRunner()
  let result = runner.run(Case("f", "c", Cost(bytes: 1), contenders: fakes))
  #expect(result["peer"]?.ratio?.median == 1.5)
  #expect(result["kiln"]?.peakResident == 5 << 20)
  #expect(result["gone"]?.unavailable == "no")
  #expect(result["gone"]?.seconds == nil)
  #expect(fakes.map(\.released) == [true, true, true])
  #expect(runner.failures.isEmpty)
}

@Test func wrongResultsAndImpossibleSharesFail() throws {
  let runner = try quickRunner()
  _ = runner.run(Case("f", "wrong", Cost(), contenders: [Fake("kiln", seconds: 1, fault: BenchFailure("off by 3"))]))
  #expect(runner.failures == ["f: wrong: kiln: off by 3"])
  _ = runner.run(Case("f", "impossible", Cost(bytes: 1e15), contenders: [Fake("kiln", seconds: 1e-3)]))
  #expect(runner.failures.count == 2)
  #expect(runner.failures.last?.contains("impossible") == true)
  var unbounded = Case("f", "warm", Cost(bytes: 1e15), contenders: [Fake("kiln", seconds: 1e-3)])
  unbounded.isBounded = false
  #expect(runner.run(unbounded)["kiln"]?.share == nil)
  #expect(runner.failures.count == 2)
}

@Test func totalsAreWeightedByTime() throws {
  var cases = results(seconds: 1).cases + results(seconds: 3, name: "two").cases
  cases[1].contenders[0].share = Spread([0.9])
  let totals = Total.of(cases)
  #expect(totals.map(\.contender) == ["kiln", "peer"])
  let share = try #require(totals[0].share)
  #expect(abs(share - 0.8) < 1e-12)
  #expect(totals[0].rate == 0.5e9)
  #expect(totals[1].ratio == 2)
}

@Test func resultsSurviveTheirFile() throws {
  let folder = NSTemporaryDirectory() + "harness-\(UUID().uuidString)"
  defer { try? FileManager.default.removeItem(atPath: folder) }
  let first = results()
  let path = try first.write(to: folder)
  #expect(try Results.read(path) == first)
  // A later run of other cases at the same commit keeps the earlier ones, and replaces its own.
  _ = try results(seconds: 2, name: "two").write(to: folder)
  _ = try results(seconds: 3, name: "two").write(to: folder)
  let merged = try Results.read(path)
  #expect(merged.cases.map(\.name) == ["one", "two"])
  #expect(merged.cases[1]["kiln"]?.seconds?.median == 3)
  #expect(throws: BenchFailure.self) { try Results.read(folder + "/none.json") }
}

@Test func differencesAreMarked() {
  let table = Difference.table(results(seconds: 1), results(seconds: 2))
  #expect(table.rows.map(\.[4]) == ["2.000", "2.000"])
  #expect(table.rows[0].last == "slower")
  #expect(Difference.table(results(), results(name: "other")).rows.isEmpty)
}

@Test func tablesAlign() {
  var table = TextTable(["name", "ms"])
  table.rows = [["a", "1"], ["long name", "100"]]
  #expect(table.aligned == "name        ms\na            1\nlong name  100")
  #expect(table.markdown.split(separator: "\n")[1] == "| --- | ---: |")
  #expect(Report.markdown(results()).contains("| one | kiln | 1000 |"))
}

@Test func processesAnswerLineByLine() throws {
  let script = """
    read a; echo '{"ok": true, "note": "v1"}'; read b; echo '{"seconds": 2.5, "bytes": 7, "resident": null}'
    read c; echo '{"unsupported": "too big"}'
    """
  let contender = ProcessContender("peer", Job(.adamw) { $0.count = 1 }, isOwn: false) {
    try LineProcess("peer", ["/bin/sh", "-c", script])
  }
  #expect(try contender.prepare() == "v1")
  let timing = try contender.run(3)
  #expect(timing.seconds == 2.5)
  #expect(timing.extraBytes == 7)
  #expect(timing.peakResident == nil)
  #expect(throws: Unavailable.self) { try contender.run(1) }
  #expect(throws: Unavailable.self) { try contender.run(1) }
}
