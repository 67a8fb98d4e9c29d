// Experiments from end to end, with a task that takes seconds.

import Foundation
import Harness
import Kiln
import Testing

@testable import kiln_bench

@Test func armsTrainAndDiverge() throws {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-bench-\(UUID())")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  let text = String(repeating: "In the beginning was the word. ", count: 40)
  for name in ["train.txt", "held-out.txt"] {
    try Data(text.utf8).write(to: folder.appendingPathComponent(name))
  }
  let task = TrainingTask("tiny", layers: 1, width: 16, heads: 2, time: 16, batch: 4, steps: 80)
  let experiment = Experiment(
    name: "test", tasks: [task],
    arms: [
      Arm("adamw", rate: 0.02), Arm("half", rate: 0.02) { $0.steps = 40 },
      Arm("sgd", rate: 1e8) { ($0.optimizer, $0.gradClip) = (.sgd, 0) },
    ], rates: [1], seeds: [0])
  let runner = TrainingRunner(text: try TrainingText(in: folder), commit: "abc", threads: 1)
  let runs = try experiment.firstRuns(rates: [1]).map { try runner.run($0) { _, _, _ in } }
  let (adamw, half, sgd) = (runs[0], runs[1], runs[2])
  #expect(!adamw.diverged && adamw.steps == 80 && adamw.curve.count == 30 && adamw.curve.last?.step == 80)
  #expect(adamw.stateBytes == 8 * adamw.parameters && adamw.planBytes > 16 * adamw.parameters)
  let learned = try #require(adamw.heldOut)
  #expect(learned < 2.5)
  #expect(half.steps == 40)
  #expect(sgd.diverged)
}

@Test func everyRunHasAKeyOfItsOwn() {
  for experiment in Experiment.all {
    let runs = experiment.firstRuns(rates: experiment.rates)
    #expect(Set(runs.map(\.key)).count == runs.count)
    #expect(experiment.firstRuns(rates: [1]).count == experiment.tasks.count * experiment.arms.count)
  }
}

@Test func otherSeedsTakeTheBestRateOfTheFirst() {
  let experiment = Experiment(
    name: "test", tasks: [.nano], arms: [Arm("a", rate: 1), Arm("b", rate: 1), Arm("c", rate: nil)])
  func run(_ arm: String, _ lr: Double?, _ heldOut: Double?) -> TrainingRun {
    TrainingRun(
      .init(task: "LM-nano", arm: arm, lr: lr, seed: 0), commit: "", steps: 1, losses: [1], seconds: [1],
      heldOut: heldOut, diverged: heldOut == nil, parameters: 1, stateBytes: 1, planBytes: 1)
  }
  let first = [run("a", 0.3, 3), run("a", 1, 2), run("a", 3, nil), run("b", 1, nil), run("c", nil, 2)]
  let others = experiment.otherRuns(after: first).map(\.key)
  #expect(others.map(\.arm) == ["a", "c", "a", "c"])
  #expect(others.map(\.seed) == [1, 1, 2, 2])
  #expect(others.map(\.lr) == [1, nil, 1, nil])
}

@Test func batchesKeepTheNumberOfSamples() {
  for arm in Experiment.batch.arms {
    var configuration = TrainingTask.nano.configuration
    arm.change(&configuration)
    #expect(abs(configuration.batch * (configuration.steps ?? 0) - 32_000) < configuration.batch)
  }
}

/// One width, trained for a moment: every form of it, smaller than it was.
@Test func modelsAreCompressed() throws {
  let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-bench-\(UUID())")
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  let text = String(repeating: "In the beginning was the word. ", count: 400)
  for name in ["train.txt", "held-out.txt"] {
    try Data(text.utf8).write(to: folder.appendingPathComponent(name))
  }
  var compression = Compression(text: try TrainingText(in: folder), seconds: 1, threads: 1)
  (compression.widths, compression.densities, compression.tuningSteps) = ([32, 64], [0.1], 2)
  var points: [Compression.Point] = []
  try compression.run { points.append($0) }
  let forms = ["fp32", "10 % kept", "int8", "int4"]
  #expect(points.map(\.form) == forms + forms + forms + forms)
  for group in stride(from: 0, to: points.count, by: 4) {
    let model = points[group..<group + 4]
    #expect(model.dropFirst().allSatisfy { $0.bytes < points[group].bytes && $0.steps == points[group].steps })
    #expect(model.allSatisfy { $0.heldOut < 6 })
    #expect(abs(points[group + 2].heldOut - points[group].heldOut) < 0.1, "8 bits hardly show")
  }
  #expect(points.contains { $0.isBest(among: points) })
  #expect(Compression.markdown(points).contains("| 64 | int4 |") && Compression.plot(points).svg.contains("width 64"))
}
