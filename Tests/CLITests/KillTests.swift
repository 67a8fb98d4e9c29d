// Runs that are killed at random moments, or whose disk fails, go on from their last checkpoint.

import Foundation
import KilnTraining
import Testing

struct KillTests {
  private let kiln: Kiln

  init() throws { kiln = try Kiln() }

  @Test func killedAndResumedGivesTheSameBits() throws {
    try kiln.write(sampleText, to: "text.txt")
    let arguments =
      ["train", "--data", "text.txt", "--steps", "120", "--save-every", "3", "--dropout", "0.1", "--quiet"] + tinyModel
    #expect(try kiln.run(arguments + ["--out", "whole"]).status == 0)

    var random = SystemRandomNumberGenerator()
    var kills = 0
    var finished = false
    for attempt in 0..<60 where !finished {
      let isStarted = kiln.exists("killed")
      let process = try kiln.start(
        isStarted ? ["train", "--resume", "killed", "--quiet"] : arguments + ["--out", "killed"])
      // The first kills come early, so that a fast machine is not done before them; the last attempts are left alone.
      let latest: UInt32 = attempt < 3 ? 100_000 : 400_000
      if attempt < 40 { usleep(UInt32.random(in: 10_000...latest, using: &random)) } else { process.waitUntilExit() }
      if process.isRunning {
        kill(process.processIdentifier, SIGKILL)
        kills += 1
      }
      process.waitUntilExit()
      finished = process.terminationReason == .exit
      if finished {
        let errors = try #require(process.standardError as? Pipe).fileHandleForReading.readDataToEndOfFile()
        #expect(process.terminationStatus == 0, "\(String(decoding: errors, as: UTF8.self))")
      }
    }
    #expect(finished && kills > 0, "killed \(kills) times")
    #expect(try kiln.read("killed/model.safetensors") == kiln.read("whole/model.safetensors"))
    let expected = try kiln.metrics("whole/metrics.jsonl")
    let resumed = try kiln.metrics("killed/metrics.jsonl")
    #expect(resumed.map { $0["step"] } == expected.map { $0["step"] })
    for key in ["loss", "grad_norm", "lr", "tokens"] {
      #expect(resumed.map { $0[key] } == expected.map { $0[key] }, "\(key)")
    }
  }

  #if os(Linux)
    /// The disk refuses to write in the middle of a run.
    @Test(arguments: ["states", "activations"]) func aDiskThatFailsEndsTheRunCleanly(_ what: String) throws {
      try kiln.write(sampleText, to: "text.txt")
      let process = try kiln.start([
        "train", "--data", "text.txt", "--layers", "8", "--width", "64", "--context", "64", "--batch", "8",
        "--steps", "100000", "--save-every", "2", "--schedule", "constant", "--offload", what, "--disk", ".",
        "--quiet", "--out", "run",
      ])
      while (try? TrainingConfiguration.resume(kiln.folder.appendingPathComponent("run")).folder) == nil,
        process.isRunning
      {
        usleep(20_000)
      }
      let limit = Process()
      limit.executableURL = URL(fileURLWithPath: "/usr/bin/prlimit")
      limit.arguments = ["--pid", "\(process.processIdentifier)", "--fsize=65536"]
      try limit.run()
      let errors = try #require(process.standardError as? Pipe).fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      #expect(process.terminationReason == .exit && process.terminationStatus == 1)
      let message = String(decoding: errors, as: UTF8.self)
      #expect(message.contains("cannot write what is offloaded to") && message.contains("File too large"), "\(message)")
      let steps = try TrainingConfiguration.resume(kiln.folder.appendingPathComponent("run")).state.step
      let resumed = try kiln("train", "--resume", "run", "--steps", "\(steps + 2)", "--quiet")
      #expect(steps >= 2 && resumed.status == 0, "\(resumed.errors)")
    }
  #endif
}
