import Foundation

/// How many CPUs anybody but the bench used meanwhile, from the kernel's counters: 0 is a quiet machine.
/// Time that the hypervisor gave to others counts too.
public struct ForeignLoad {
  private let processes: [Int32]
  private let start: Counters

  /// - Parameter processes: those that work for the bench beside this one.
  public init(processes: [Int32] = []) {
    self.processes = processes
    start = Counters(processes)
  }

  /// The mean since `init`; nil where the system does not tell.
  public func mean() -> Double? {
    let end = Counters(processes)
    guard let all = end.all, let before = start.all, end.time > start.time else { return nil }
    let foreign = (all - before) - (end.own - start.own)
    return max(0, foreign / (end.time - start.time))
  }

  /// Seconds of CPU time so far.
  private struct Counters {
    let time = ProcessInfo.processInfo.systemUptime
    let all: Double?
    let own: Double

    init(_ processes: [Int32]) {
      let tick = Double(sysconf(Int32(_SC_CLK_TCK)))
      all = Self.busyTicks().map { $0 / tick }
      own = (["self"] + processes.map(String.init)).reduce(0) { $0 + Self.processTicks($1) } / tick
    }

    /// user + nice + system + irq + softirq + steal of all CPUs.
    private static func busyTicks() -> Double? {
      guard let line = read("/proc/stat")?.split(separator: "\n").first else { return nil }
      let fields = line.split(separator: " ").dropFirst().compactMap { Double($0) }
      guard fields.count >= 8 else { return nil }
      return fields[0] + fields[1] + fields[2] + fields[5] + fields[6] + fields[7]
    }

    /// utime + stime, which stand behind the command's name in parentheses.
    private static func processTicks(_ process: String) -> Double {
      guard let text = read("/proc/\(process)/stat"), let end = text.lastIndex(of: ")") else { return 0 }
      let fields = text[end...].split(separator: " ")
      return fields.count > 13 ? (Double(fields[12]) ?? 0) + (Double(fields[13]) ?? 0) : 0
    }

    private static func read(_ path: String) -> String? { try? String(contentsOfFile: path, encoding: .utf8) }
  }
}
