// kiln plan

import ArgumentParser
import Foundation
import Kiln

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Say what a training run would take of memory and time, and train nothing.",
    discussion: """
      Takes the options of 'kiln train'. Times are those of this machine once 'kiln doctor --measure' has run on it.
      """)

  @Option(help: ArgumentHelp("A YAML file with options as keys. (default: none)", valueName: "run.yaml"))
  var config: String?

  @Flag(help: "Print one JSON object.")
  var json = false

  @Option(help: ArgumentHelp("Write a page with a picture of memory over the step. (default: none)", valueName: "file"))
  var html: String?

  @OptionGroup var options: TrainOptions

  func run() throws {
    let request = try TrainRequest(options, over: try config.map(ConfigurationFile.read), needsOutput: false)
    let configuration = request.configuration
    let plan = try TrainingPlanner(budget: configuration.memory).plan(
      configuration, resuming: request.point, options: request.options)
    if json {
      try Terminal.print(json: JSONForm(plan))
    } else {
      Terminal.print(table: PlanDescription.rows(of: plan))
      Terminal.print("\nlargest when most is in use")
      Terminal.print(table: plan.largest.prefix(12).map { (formatBytes($0.bytes), $0.name) })
    }
    if let html {
      try PlanReport.write(plan, to: URL(fileURLWithPath: html), rows: PlanDescription.rows(of: plan))
    }
  }
}

enum PlanDescription {
  static func rows(of plan: TrainingPlan) -> [(name: String, value: String)] {
    let memory = plan.memory
    let categories = MemoryForecast.Category.allCases.map { ("  \($0.rawValue)", formatBytes(memory[$0])) }
    let fill = Double(plan.gradient.arenaBytes) / Double(max(plan.gradient.lowerBound, 1))
    let rates = plan.isMeasured ? "" : ", at nominal rates: 'kiln doctor --measure' measures this machine's"
    let device = memory.isApart ? ", and \(formatBytes(memory.device)) on the device" : ""
    return [("peak memory", "\(formatBytes(memory.total)) (\(memory.total) bytes) of the whole process\(device)")]
      + categories
      + [
        ("arena", String(format: "%.3f of the least that is alive at once", fill)),
        ("update", plan.updateMode),
        ("techniques", plan.techniques.isEmpty ? "none" : plan.techniques.joined(separator: ", ")),
        ("micro-batch", "\(plan.microBatch) of \(plan.batch) sequences"),
        ("step", "\(formatDuration(plan.seconds)), \(formatRate(plan.tokensPerSecond))\(rates)"),
      ]
      + plan.choices.map { choice in
        let change = "\(formatDuration(abs(choice.seconds))) \(choice.seconds < 0 ? "less" : "more")"
        return ("chosen", "\(choice.name): \(formatBytes(choice.bytes)) less, \(change) a step")
      }
  }
}

private struct JSONForm: Encodable {
  let plan: TrainingPlan

  init(_ plan: TrainingPlan) { self.plan = plan }

  private enum Key: String, CodingKey {
    case categories, choices, largest, update, rates
    case peakBytes = "peak_bytes"
    case deviceBytes = "device_bytes"
    case secondsPerStep = "seconds_per_step"
    case tokensPerSecond = "tokens_per_second"
    case microBatch = "micro_batch"
    case arenaBytes = "arena_bytes"
    case arenaLowerBound = "arena_lower_bound"
  }

  private struct Entry: Encodable {
    let name: String
    let bytes: Int
    var seconds: Double?
  }

  func encode(to encoder: any Encoder) throws {
    var values = encoder.container(keyedBy: Key.self)
    try values.encode(plan.memory.total, forKey: .peakBytes)
    try values.encode(plan.memory.device, forKey: .deviceBytes)
    try values.encode(plan.seconds, forKey: .secondsPerStep)
    try values.encode(plan.tokensPerSecond, forKey: .tokensPerSecond)
    try values.encode(plan.isMeasured ? "measured" : "nominal", forKey: .rates)
    let categories = MemoryForecast.Category.allCases.map {
      ($0.rawValue.replacing(" ", with: "_"), plan.memory[$0])
    }
    try values.encode(Dictionary(uniqueKeysWithValues: categories), forKey: .categories)
    try values.encode(plan.microBatch, forKey: .microBatch)
    try values.encode(plan.updateMode, forKey: .update)
    try values.encode(plan.gradient.arenaBytes, forKey: .arenaBytes)
    try values.encode(plan.gradient.lowerBound, forKey: .arenaLowerBound)
    try values.encode(
      plan.choices.map { Entry(name: $0.name, bytes: $0.bytes, seconds: $0.seconds) }, forKey: .choices)
    try values.encode(plan.largest.prefix(20).map { Entry(name: $0.name, bytes: $0.bytes) }, forKey: .largest)
  }
}
