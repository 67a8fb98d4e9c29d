// One run whose memory and time are predicted and then measured.

import Foundation
import Harness
import Kiln

enum MemoryRun {
  /// What a process is asked to do.
  struct Planned: Codable {
    var name: String
    var configuration: TrainingConfiguration
    /// Multiply-adds per second of the machine when its rates were measured.
    var speed: Double?
  }

  struct Result: Codable {
    var name: String
    /// Bytes; measured is the largest resident set of the process from its start to its end.
    /// A peer has no predictions.
    var predicted: Int?
    var measured: Int
    /// Of a step: the fastest but the first, or the only one.
    var predictedSeconds: Double?
    var measuredSeconds: Double
    var tokensPerStep: Int
    var techniques: [String]
    /// How fast the machine was around that step, by multiply-adds, as a part of what it was when its rates were measured.
    var speed: Double?
    /// What other processes used of the CPUs meanwhile.
    var foreignLoad: Double?

    var line: String {
      let peak = String(format: "%.1f MiB", Double(measured) / 0x1p20)
      let time = String(format: "%.3f s a step", measuredSeconds)
      guard let predicted, let predictedSeconds else { return "\(name): \(peak); \(time)" }
      let off = String(format: " (predicted %+.1f)", Double(predicted - measured) / 0x1p20)
      return "\(name): \(peak)\(off); \(time)"
        + String(format: " (predicted x %.2f", predictedSeconds / measuredSeconds)
        + (equalSpeedRatio.map { String(format: ", at equal speed x %.2f)", $0) } ?? ")")
    }

    /// Predicted over measured seconds, were the machine as fast as when its rates were measured.
    var equalSpeedRatio: Double? {
      guard let predictedSeconds, let speed else { return nil }
      return predictedSeconds / (measuredSeconds * speed)
    }
  }

  /// Runs this program once more for one run.
  static func inOwnProcess(_ planned: Planned, threads: Int) throws -> Result {
    guard let executable = Bundle.main.executableURL else {
      throw BenchFailure("the bench cannot find its own program")
    }
    let process = Process()
    process.executableURL = executable
    let request = String(decoding: try JSONEncoder().encode(planned), as: UTF8.self)
    process.arguments = ["memory", "--threads", String(threads), "--single", request]
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0, let result = try? JSONDecoder().decode(Result.self, from: output) else {
      throw BenchFailure("\(planned.name): the run failed: \(String(decoding: output, as: UTF8.self))")
    }
    return result
  }

  /// The run itself; prints its result.
  static func perform(_ request: String, threads: Int?) throws {
    let planned = try JSONDecoder().decode(Planned.self, from: Data(request.utf8))
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-bench-\(getpid())")
    defer { try? FileManager.default.removeItem(at: folder) }
    var configuration = planned.configuration
    let tokens = configuration.batch * (configuration.context ?? TrainingConfiguration.defaultContext)
    configuration.data = [
      try RandomTokens.write(tokens * 4 + 1, below: configuration.vocabSize ?? 256, in: folder).path
    ]
    let load = ForeignLoad()
    let workers = threads ?? ProcessInfo.processInfo.activeProcessorCount
    func speed() -> Double { planned.speed == nil ? 0 : ComputeUnit.fma.measure(threads: workers, seconds: 0.1) }
    let trainer = try Trainer(
      configuration, out: folder.appendingPathComponent("out"), options: Trainer.Options(threads: threads))
    var seconds: [Double] = []
    var speeds = [speed()]
    try trainer.run(onEvent: { event in
      guard case .step(let metrics) = event else { return }
      seconds.append(Double(tokens) / metrics.tokensPerSecond)
      speeds.append(speed())
    })
    let steps = seconds.indices.dropFirst(seconds.count > 1 ? 1 : 0)
    guard let fastest = steps.min(by: { seconds[$0] < seconds[$1] }) else {
      throw BenchFailure("\(planned.name): no step was taken")
    }
    let result = Result(
      name: planned.name, predicted: trainer.plan.memory.total, measured: ProcessMemory.peakResident,
      predictedSeconds: trainer.plan.seconds,
      measuredSeconds: seconds[fastest], tokensPerStep: tokens, techniques: trainer.plan.techniques,
      speed: planned.speed.map { (speeds[fastest] + speeds[fastest + 1]) / 2 / $0 }, foreignLoad: load.mean())
    FileHandle.standardOutput.write(try JSONEncoder().encode(result))
  }

  static func write(_ results: [Result], to path: String) throws {
    let url = URL(fileURLWithPath: path)
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let lines = try results.map { String(decoding: try encoder.encode($0), as: UTF8.self) + "\n" }
    try Data(lines.joined().utf8).write(to: url)
  }

  static func read(_ path: String) throws -> [Result] {
    try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
      try JSONDecoder().decode(Result.self, from: Data($0.utf8))
    }
  }

  static func markdown(_ results: [Result]) -> String {
    let rows = results.map { result in
      let measured = String(format: "%.1f", Double(result.measured) / 0x1p20)
      let seconds = String(format: "%.3f", result.measuredSeconds)
      var cells = [result.name, "", measured, "", "", seconds, "", ""]
      if let predicted = result.predicted, let predictedSeconds = result.predictedSeconds {
        let off = Double(predicted - result.measured)
        cells[1] = String(format: "%.1f", Double(predicted) / 0x1p20)
        cells[3] = String(format: "%+.1f (%+.1f %%)", off / 0x1p20, off / Double(result.measured) * 100)
        cells[4] = String(format: "%.3f", predictedSeconds)
        cells[6] = String(format: "%.2f", predictedSeconds / result.measuredSeconds)
        cells[7] = result.equalSpeedRatio.map { String(format: "%.2f", $0) } ?? ""
      }
      cells.append(String(format: "%.0f", Double(result.tokensPerStep) / result.measuredSeconds))
      cells.append(result.techniques.isEmpty ? "none" : result.techniques.joined(separator: ", "))
      return "| " + cells.joined(separator: " | ") + " |"
    }
    let head = """
      | run | predicted MiB | measured MiB | off | predicted s | measured s | ratio | at equal speed | tokens/s | techniques |
      |---|--:|--:|--:|--:|--:|--:|--:|--:|---|
      """
    return ([head] + rows).joined(separator: "\n")
  }

  /// Memory against time.
  static func plot(_ results: [Result]) -> ScatterPlot {
    func points(_ belongs: (Result) -> Bool) -> [ScatterPlot.Point] {
      results.filter(belongs).map { result in
        let name = result.name.split(separator: ", ").dropFirst(result.predicted == nil ? 0 : 2).joined(separator: ", ")
        return .init(
          name.isEmpty ? "no budget" : name, x: Double(result.measured) / 0x1p20, y: result.measuredSeconds)
      }
    }
    func isOwn(_ result: Result, _ precision: String) -> Bool {
      result.predicted != nil && result.name.contains(precision)
    }
    return ScatterPlot(
      "GPT-2 124M, 4 x 1024 tokens, a step of AdamW", x: "MiB at the peak", y: "s a step",
      [
        .init("Kiln, fp32", points { isOwn($0, "fp32") }), .init("Kiln, bf16", points { isOwn($0, "bf16") }),
        .init("PyTorch", points { $0.predicted == nil }),
      ])
  }
}
