// metrics.jsonl: what is written is read back, resume cuts, damage is named.

import Foundation
import KilnKernels
import Testing

@testable import KilnTraining

@Suite struct MetricsFileTests {
  private let folder: URL
  private var file: URL { folder.appendingPathComponent("metrics.jsonl") }

  init() throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("metrics-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  @Test func readsBackEveryDigit() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    var written = (0..<5).map { metrics(step: $0) }
    written[2].evalLoss = 0.1 + 0.2
    written[2].evalBitsPerByte = 1.0 / 3.0
    written[3].lr = 1.2345678901234567e-19
    written[4].gradNorm = .greatestFiniteMagnitude
    let output = try MetricsFile(appendingTo: file, resumeAt: 0)
    for step in written { try output.append(step) }
    #expect(try MetricsFile.read(file) == written)
  }

  @Test func writesOneReadableObjectALine() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    var step = metrics(step: 7)
    step.evalLoss = 1.25
    try MetricsFile(appendingTo: file, resumeAt: 0).append(step)
    #expect(
      try text() == """
        {"step": 7, "loss": 0.6666666666666666, "grad_norm": 1.5, "lr": 0.0003, "tokens": 8192, "seconds": 4.0, \
        "tokens_per_second": 2048.5, "peak_bytes": 1073741824, "eval_loss": 1.25}

        """)
  }

  @Test func refusesWhatJSONCannotHold() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let output = try MetricsFile(appendingTo: file, resumeAt: 0)
    for value in [Double.nan, .infinity, -.infinity] {
      var step = metrics(step: 3)
      step.evalLoss = value
      let error = #expect(throws: KilnError.self) { try output.append(step) }
      #expect(error?.kind == .numerics)
      #expect(error?.message.contains("eval_loss of step 3") == true)
    }
    #expect(try text().isEmpty)
  }

  @Test func resumeKeepsTheStepsBefore() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    try write(steps: 0..<10)
    let before = try text().split(separator: "\n")
    try MetricsFile(appendingTo: file, resumeAt: 6).append(metrics(step: 6))
    #expect(try MetricsFile.read(file).map(\.step) == Array(0...6))
    #expect(try text().split(separator: "\n").prefix(6) == before.prefix(6))
    _ = try MetricsFile(appendingTo: file, resumeAt: 100)
    #expect(try MetricsFile.read(file).map(\.step) == Array(0...6))
    _ = try MetricsFile(appendingTo: file, resumeAt: 0)
    #expect(try text().isEmpty)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["metrics.jsonl"])
  }

  @Test func anUnfinishedLastLineDoesNotCount() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    try write(steps: 0..<4)
    let whole = try Data(contentsOf: file)
    let lastLine = try text().split(separator: "\n").last?.utf8.count ?? 0
    for missing in [1, 2, lastLine / 2, lastLine] {
      try whole.dropLast(missing).write(to: file)
      #expect(try MetricsFile.read(file).map(\.step) == [0, 1, 2])
      try MetricsFile(appendingTo: file, resumeAt: 4).append(metrics(step: 4))
      #expect(try MetricsFile.read(file).map(\.step) == [0, 1, 2, 4])
    }
  }

  @Test(arguments: ["", "{", "[]", "{\"step\": 1}", "{\"step\": 1e300}", "\u{0}\u{0}", "{\"step\": \"1\"}"])
  func namesTheDamagedLine(damage: String) throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    try write(steps: 0..<3)
    var lines = try text().split(separator: "\n").map(String.init)
    lines[1] = damage
    try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: file)
    let error = #expect(throws: KilnError.self) { try MetricsFile.read(file) }
    #expect(error?.kind == .format)
    #expect(error?.message.hasPrefix("line 2 of '\(file.path)'") == true)
  }

  @Test func resumeLeavesADamagedFileAlone() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    try Data("{\"step\": 0}\nnonsense\n{\"step\": 2}\n".utf8).write(to: file)
    let error = #expect(throws: KilnError.self) { try MetricsFile(appendingTo: file, resumeAt: 2) }
    #expect(error?.message.hasPrefix("line 2 of") == true)
    #expect(try text().contains("nonsense"))
  }

  @Test func namesPathAndReason() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let inNoFolder = folder.appendingPathComponent("none/metrics.jsonl")
    let cases: [(URL, String)] = [(inNoFolder, "No such file or directory"), (folder, "Is a directory")]
    for (url, reason) in cases {
      let error = #expect(throws: KilnError.self) { try MetricsFile(appendingTo: url, resumeAt: 0) }
      #expect(error?.message == "cannot open '\(url.path)': \(reason)")
    }
    let unread = #expect(throws: KilnError.self) { try MetricsFile.read(inNoFolder) }
    #expect(unread?.message == "cannot read '\(inNoFolder.path)': No such file or directory")
  }

  #if os(Linux)
    @Test func aFullDiskIsAnError() throws {
      defer { try? FileManager.default.removeItem(at: folder) }
      let output = try MetricsFile(appendingTo: URL(fileURLWithPath: "/dev/full"), resumeAt: 5)
      let error = #expect(throws: KilnError.self) { try output.append(metrics(step: 5)) }
      #expect(error?.message == "cannot write to '/dev/full': No space left on device")
    }
  #endif

  private func write(steps: Range<Int>) throws {
    let output = try MetricsFile(appendingTo: file, resumeAt: 0)
    for step in steps { try output.append(metrics(step: step)) }
  }

  private func text() throws -> String { try String(contentsOf: file, encoding: .utf8) }

  private func metrics(step: Int) -> StepMetrics {
    StepMetrics(
      step: step, loss: 5 / (Double(step) + 0.5), gradNorm: 1.5, lr: 3e-4, tokens: 1024 * (step + 1),
      seconds: 0.5 * Double(step + 1), tokensPerSecond: 2048.5, peakBytes: 1 << 30)
  }
}
