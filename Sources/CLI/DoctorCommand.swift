// kiln doctor

import ArgumentParser
import Foundation
import Kiln

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Check what this machine has and whether the kernels work on it.",
    discussion: "Ends with 1 if there is a problem.")

  @Flag(help: "Measure how fast this machine is at each operation, for a minute or two: what 'plan' goes by.")
  var measure = false

  @OptionGroup var machine: MachineOptions

  func run() throws {
    if measure { return try measureRates() }
    let checks = [
      processor(), instructionSets(), products(), threads(), openMP(), memory(), hugePages(), cache(), kernels(),
      environment(),
    ]
    let width = checks.map(\.name.count).max() ?? 0
    for check in checks {
      let name = check.name.padding(toLength: width + 2, withPad: " ", startingAt: 0)
      Terminal.print((check.isProblem ? "problem  " : "ok       ") + name + check.finding)
    }
    if checks.contains(where: \.isProblem) { throw ExitCode.failure }
  }

  private func measureRates() throws(KilnError) {
    let context = try machine.makeContext()
    _ = try MachineRates.measure(on: context) { Terminal.note("measuring \($0)") }
    Terminal.print("measured: \(RunDescription.device(context)); 'kiln plan' goes by that now")
  }

  private struct Check {
    let name: String
    let finding: String
    var isProblem = false

    init(_ name: String, _ finding: String, isProblem: Bool = false) {
      self.name = name
      self.finding = finding
      self.isProblem = isProblem
    }

    /// A finding that may fail.
    init(_ name: String, finding: () throws(KilnError) -> String) {
      do throws(KilnError) { self.init(name, try finding()) } catch { self.init(name, error.message, isProblem: true) }
    }
  }

  private func processor() -> Check {
    Check("processor", SystemFile.value(of: "model name", in: "/proc/cpuinfo") ?? "unknown")
  }

  private func instructionSets() -> Check {
    Check("kernels") { () throws(KilnError) in
      "\(try Context().isa), of \(Context.availableISAs.joined(separator: ", ")) that this machine has"
    }
  }

  private func products() -> Check {
    Check("products") { () throws(KilnError) in
      let context = try Context()
      return context.gemmNotice ?? "by Kiln's own kernels: the same bits for any number of threads"
    }
  }

  private func threads() -> Check {
    Check("threads") { () throws(KilnError) in
      "\(try Context().threads), of \(ProcessInfo.processInfo.processorCount) processors"
    }
  }

  private func openMP() -> Check {
    let maps = SystemFile.lines(of: "/proc/self/maps")
    let files = maps.lazy.compactMap { $0.split(separator: " ").last }
    let library = files.first { $0.contains("libomp") || $0.contains("libgomp") }
    return Check("OpenMP", library.map { "linked: \($0)" } ?? "not linked: everything runs on one thread")
  }

  private func memory() -> Check {
    func bytes(_ key: String) -> Int? {
      SystemFile.value(of: key, in: "/proc/meminfo")?.split(separator: " ").first.flatMap { Int($0) }.map { $0 << 10 }
    }
    guard let total = bytes("MemTotal"), let free = bytes("MemAvailable") else { return Check("memory", "unknown") }
    return Check("memory", "\(formatBytes(free)) available of \(formatBytes(total))")
  }

  private func hugePages() -> Check {
    let modes = SystemFile.lines(of: "/sys/kernel/mm/transparent_hugepage/enabled").first
    let mode = modes?.split(separator: " ").first { $0.hasPrefix("[") }?.dropFirst().dropLast()
    return Check("huge pages", mode.map(String.init) ?? "unknown")
  }

  private func cache() -> Check {
    guard let folder = Corpus.standardCache else {
      return Check("cache", "no folder for tokenised text: set KILN_CACHE", isProblem: true)
    }
    var place = folder
    while !FileManager.default.fileExists(atPath: place.path), place.path != "/" { place.deleteLastPathComponent() }
    let isWritable = FileManager.default.isWritableFile(atPath: place.path)
    return Check(
      "cache", folder.path + (isWritable ? "" : " cannot be written: text is tokenised anew each time"),
      isProblem: !isWritable)
  }

  private func kernels() -> Check {
    Check("check") { () throws(KilnError) in
      let fast = try Context()
      let difference = try KernelCheck.largestDifference(between: fast, and: Context(device: .ref))
      guard difference < 1e-4 else {
        throw KilnError(.numerics, "\(fast.isa) kernels differ from the reference by \(difference)")
      }
      return "\(fast.isa) kernels agree with the reference to \(String(format: "%.1e", difference))"
    }
  }

  private func environment() -> Check {
    let names = ["KILN_ISA", "KILN_GEMM", "KILN_THREADS", "KILN_CACHE"]
    let values = ProcessInfo.processInfo.environment
    let settings = names.map { "\($0) " + (values[$0].map { "= \($0)" } ?? "not set") }
    return Check("environment", settings.joined(separator: ", "))
  }
}

/// A small product, computed twice.
private enum KernelCheck {
  /// max |c - reference| for c = a b, a [37, 53] and b [53, 29] with elements in -1 ..< 1.
  static func largestDifference(between context: Context, and reference: Context) throws(KilnError) -> Float {
    let (m, n, k) = (37, 29, 53)
    let a = try Tensor(zeros: [m, k])
    let b = try Tensor(zeros: [k, n])
    try reference.randomUniform(a, -1..<1, key: RandomKey(seed: 1))
    try reference.randomUniform(b, -1..<1, key: RandomKey(seed: 2))
    let results = try [context, reference].map { (context) throws(KilnError) in
      let c = try Tensor(zeros: [m, n])
      try context.gemm(c, a, b)
      return c.floats()
    }
    return zip(results[0], results[1]).map { abs($0 - $1) }.reduce(0) { $1.isNaN ? .infinity : max($0, $1) }
  }
}

/// Text files in which the system tells about itself; without them there are no lines.
private enum SystemFile {
  static func lines(of path: String) -> [Substring] {
    (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n") ?? []
  }

  /// The value of a line `key : value`.
  static func value(of key: String, in path: String) -> String? {
    let line = lines(of: path).first { $0.hasPrefix(key) }
    return line?.split(separator: ":", maxSplits: 1).last.map { $0.trimmingCharacters(in: .whitespaces) }
  }
}
