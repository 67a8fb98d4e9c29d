// kiln-bench worker: Kiln's side of the protocol that peers speak (Harness/ProcessContender.swift).

import ArgumentParser
import Foundation
import Harness
import Kiln

struct WorkerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "worker", abstract: "Run whole models for the bench, over stdin and stdout.", shouldDisplay: false)

  @Option(help: "Threads.") var threads: Int?
  @Option(help: "The device.") var device: Context.Device = .cpu

  private var options: Trainer.Options { Trainer.Options(threads: threads, device: device) }

  func run() throws {
    while let request = Request.next() {
      do {
        switch request {
        case .prepare(let work) where work.kind == .step: try StepWorker(work, options).serve()
        case .prepare(let work) where work.kind == .generation: try GenerationWorker(work, options).serve()
        case .prepare(let work): Answer(unsupported: "kiln does \(work.kind) in the bench itself").send()
        case .run: Answer(error: "nothing is prepared; send prepare first").send()
        case .release: Answer(ok: true).send()
        }
      } catch let error as KilnError where error.isGapOfOpenCL {
        Answer(unsupported: error.message).send()
      } catch let missing as Unavailable {
        Answer(unsupported: missing.description).send()
      } catch {
        Answer(error: "\(error)").send()
      }
    }
  }
}

/// What the bench asks for.
enum Request {
  case prepare(Job)
  case run(Int)
  case release

  /// nil at the end of the input.
  static func next() -> Request? {
    while let line = readLine() {
      if let message = try? JSONDecoder().decode(Message.self, from: Data(line.utf8)) {
        if let work = message.prepare { return .prepare(work) }
        if let count = message.run { return .run(count) }
        if message.release != nil { return .release }
      }
      Answer(error: "'\(line)' is no request; ask for prepare, run or release").send()
    }
    return nil
  }

  private struct Message: Decodable {
    var prepare: Job?
    var run: Int?
    var release: Bool?
  }
}

struct Answer: Encodable {
  var ok: Bool?
  var note, unsupported, error: String?
  var seconds: Double?
  var bytes, resident: Int?

  /// Of runs that took so long.
  static func runs(seconds: Double) -> Answer { Answer(seconds: seconds, resident: ProcessMemory.peakResident) }

  /// Ends the process where nobody reads any more.
  func send() {
    guard let data = try? JSONEncoder().encode(self),
      (try? FileHandle.standardOutput.write(contentsOf: data + Data("\n".utf8))) != nil
    else { exit(0) }
  }
}
