// kiln-bench compress

import ArgumentParser
import Foundation
import Harness
import Kiln

struct CompressCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compress",
    abstract: "Train models of several widths, compress them, and show which is best at its size.",
    discussion: "Written to Results/training: the points, and a picture of those with equal time.")

  @Option(help: "Seconds of training for each width.") var seconds = 100.0
  @Option(help: "Threads (default: every CPU).") var threads: Int?
  @Flag(help: "A second of training for each; nothing is kept, and the figures mean nothing.") var quick = false

  func run() throws {
    var compression = Compression(text: try TrainingText(), seconds: quick ? 1 : seconds, threads: threads)
    if quick { (compression.tuningSteps, compression.widths) = (2, [64, 128]) }
    var points: [Compression.Point] = []
    try compression.run { point in
      points.append(point)
      Output.line(
        "equal \(point.equal), width \(point.width), \(point.form): \(point.bytes >> 10) KiB, "
          + "held-out loss \(Format.fixed(point.heldOut, 3))")
    }
    Output.line("\n" + Compression.markdown(points))
    guard !quick else { return }
    let context = try Context(threads: threads)
    let path = "Results/training/compress-\(Machine(threads: context.threads, isa: context.isa).slug)"
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    let lines = try points.map { String(decoding: try encoder.encode($0), as: UTF8.self) + "\n" }
    try Data(lines.joined().utf8).write(to: URL(fileURLWithPath: path + ".jsonl"))
    try Data(Compression.plot(points).svg.utf8).write(to: URL(fileURLWithPath: path + ".svg"))
  }
}
