// kiln-bench memory

import ArgumentParser
import Foundation
import Harness
import Kiln

struct MemoryCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "memory", abstract: "Compare the memory and the time that plans predict with what runs take.",
    discussion: """
      Groups: \(MemoryRuns.groups.map(\.name).joined(separator: ", ")). Each run is a process of its own, whose largest \
      resident set counts. Times are predicted by the rates of this machine, measured first where they are not there.
      """)

  @Argument(help: "Groups (default: all).") var groups: [String] = []
  @Option(help: "Only runs whose name contains this.") var match: String?
  @Option(help: "Threads (default: every CPU).") var threads: Int?
  @Flag(help: "Measure the rates of this machine anew; then its speed at each run is compared with that.")
  var rates = false
  @Flag(help: "PyTorch beside the frontier; it is installed by make bench-peers.") var peers = false
  @Flag(help: "Only print what is there, as Markdown.") var table = false
  /// One run, in a process of its own.
  @Option(help: .hidden) var single: String?

  private static let folder = "Results/memory"

  func run() throws {
    if let single { return try MemoryRun.perform(single, threads: threads) }
    if table { return try selected().forEach(printTables) }
    let context = try Context(threads: threads)
    let speed = try measureRates(on: context)
    for group in try selected() { try run(group, on: context, speed: speed) }
  }

  /// Multiply-adds per second meanwhile, in the mean, if rates were measured now.
  private func measureRates(on context: Context) throws -> Double? {
    guard rates || MachineRates.cached(for: context) == nil else { return nil }
    Output.line("measuring the rates of this machine")
    var speeds: [Double] = []
    _ = try MachineRates.measure(on: context) { _ in
      speeds.append(ComputeUnit.fma.measure(threads: context.threads, seconds: 0.3))
    }
    return speeds.reduce(0, +) / Double(speeds.count)
  }

  private func selected() throws -> [MemoryRuns.Group] {
    let all = MemoryRuns.groups
    if let unknown = groups.first(where: { name in !all.contains { $0.name == name } }) {
      throw BenchFailure("there is no group '\(unknown)'; known: \(all.map(\.name).joined(separator: ", "))")
    }
    return groups.isEmpty ? all : all.filter { groups.contains($0.name) }
  }

  private func run(_ group: MemoryRuns.Group, on context: Context, speed: Double?) throws {
    let file = "\(Self.folder)/\(group.name)-\(Machine(threads: context.threads, isa: context.isa).slug).jsonl"
    // In the group's order; a run that is done again replaces what is there.
    let names = group.runs.map(\.name) + (group.name == MemoryRuns.besidePeers ? MemoryPeers.names : [])
    var results = (try? MemoryRun.read(file)) ?? []
    func keep(_ result: MemoryRun.Result) throws {
      Output.line(result.line)
      results = names.compactMap { name in name == result.name ? result : results.first { $0.name == name } }
      try MemoryRun.write(results, to: file)
    }
    for var planned in group.runs where match.map({ planned.name.contains($0) }) ?? true {
      planned.speed = speed
      try keep(MemoryRun.inOwnProcess(planned, threads: context.threads))
    }
    if group.name == MemoryRuns.besidePeers {
      if peers {
        try MemoryPeers.run(match: match, threads: context.threads, onMissing: Output.line, onResult: keep)
      }
      try Data(MemoryRun.plot(results).svg.utf8).write(to: URL(fileURLWithPath: file.replacing(".jsonl", with: ".svg")))
    }
    Output.line("\n" + MemoryRun.markdown(results))
  }

  /// Of every machine that results are there from.
  private func printTables(_ group: MemoryRuns.Group) throws {
    let files = ((try? FileManager.default.contentsOfDirectory(atPath: Self.folder)) ?? []).sorted()
    for file in files where file.hasPrefix(group.name + "-") && file.hasSuffix(".jsonl") {
      print("### \(file)\n\n" + MemoryRun.markdown(try MemoryRun.read("\(Self.folder)/\(file)")) + "\n")
    }
  }
}
