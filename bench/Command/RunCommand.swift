// kiln-bench run

import ArgumentParser
import Foundation
import Harness
import Kiln

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Measure the ceilings, then the cases.",
    discussion: "Families: \(Catalog.names.joined(separator: ", ")); and ceilings, for those alone.")

  @Option(help: "Families to run, separated by commas (default: all).") var only: String?
  @Option(help: "Only cases whose name contains this.") var match: String?
  @Option(help: "Threads (default: every CPU).") var threads: Int?
  @Option(help: "An OpenCL device, such as opencl:0, against ceilings of its own (default: cpu).")
  var device: Context.Device = .cpu
  @Option(help: "Where the result is written (default: Results; nowhere with --quick).") var out: String?
  @Flag(help: "One round each: shows that everything works; the figures mean nothing.") var quick = false
  @Flag(help: "Interleave the peers that Peers/setup.sh installed.") var peers = false
  @Option(help: "Which peers, separated by commas.") var peer: String?

  func run() throws {
    let families = try Catalog.select(only)
    // Threads of a pool wait in a busy loop after their work, by default for longer than the pause between contenders.
    setenv("KMP_BLOCKTIME", "20", 0)
    let context = try Context(device: device, threads: threads)
    let machine = Machine(
      threads: context.openCLDevice?.computeUnits ?? context.threads, isa: context.isa,
      device: context.openCLDevice.map { "\($0.name), \($0.version), driver \($0.driver)" })
    let setup = Setup(
      context: context, reference: try Context(device: .ref), coldBytes: 4 * machine.lastLevelCacheBytes)
    let rounds = quick ? 1 : 7
    let own = try deviceCeiling(machine)
    let ceilings =
      try own.map { measureCeilings(of: $0, units: machine.threads, rounds: rounds) }
      ?? measureCeilings(threads: machine.threads, memoryBytes: machine.streamBytes, rounds: rounds)
    var results = Results(machine: machine, commit: .current(), ceilings: ceilings)
    Output.line(Report.heading(results) + "\n\n" + Report.ceilings(ceilings).aligned)

    let runner = Runner(
      try CeilingMeter(threads: machine.threads, memoryBytes: machine.streamBytes, device: own),
      effort: quick ? .quick : Effort())
    let peers = try PeerPool(enabled: self.peers, names: peer, threads: machine.threads)
    for family in families {
      var cases = family.cases(setup)
      // AMX does more than any ceiling that is measured here.
      for index in cases.indices where machine.isa == "amx" && cases[index].unit == .dpbf16 {
        cases[index].isBounded = false
      }
      if let match { cases = cases.filter { $0.name.contains(match) } }
      run(cases, of: family.name, runner, peers, &results)
    }
    peers.stop()
    if let folder = out ?? (quick ? nil : "Results") {
      Output.line("\n" + URL(fileURLWithPath: try results.write(to: folder)).path)
    }
    try report(runner.failures)
  }

  /// Nil for the CPU.
  private func deviceCeiling(_ machine: Machine) throws -> DeviceCeiling? {
    guard case .opencl(let index) = device else { return nil }
    return try DeviceCeiling(index: index, bytes: machine.streamBytes)
  }

  private func run(_ cases: [Case], of family: String, _ runner: Runner, _ peers: PeerPool, _ results: inout Results) {
    guard !cases.isEmpty else { return }
    let width = cases.map(\.name.count).max() ?? 0
    Output.line("\n\(family)\n" + Report.liveHeader(nameWidth: width))
    var done: [CaseResult] = []
    var shown: Set<String> = []
    for (index, var item) in cases.enumerated() {
      Output.progress("\(family) \(index + 1) of \(cases.count): \(item.name)")
      item.contenders += peers.contenders(for: item)
      let result = runner.run(item)
      Output.line(Report.live(result, nameWidth: width, shown: &shown))
      done.append(result)
    }
    let totals = Report.totals(Total.of(done))
    if !totals.rows.isEmpty { Output.line("\n" + totals.aligned) }
    results.cases += done
  }

  private func report(_ failures: [String]) throws {
    guard !failures.isEmpty else { return }
    for failure in failures { FileHandle.standardError.write(Data("error: \(failure)\n".utf8)) }
    throw ExitCode.failure
  }
}

extension Context.Device: @retroactive ExpressibleByArgument {}

/// Lines that appear at once, and one on a terminal that says what is being measured.
enum Output {
  static func line(_ text: String) {
    progress("")
    FileHandle.standardOutput.write(Data((text + "\n").utf8))
  }

  static func progress(_ text: String) {
    guard isatty(STDERR_FILENO) == 1 else { return }
    FileHandle.standardError.write(Data("\r\u{1B}[K\(text)".utf8))
  }
}
