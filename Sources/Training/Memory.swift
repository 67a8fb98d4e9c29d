import Foundation
import KilnGraph

/// What a run will take of memory, known before its first step, by category: the process's largest resident set, and what
/// lies on a device that is apart from the host. What a device's driver takes for itself is not in it.
public struct MemoryForecast: Sendable, Hashable {
  public enum Category: String, Sendable, Hashable, CaseIterable {
    case weights, gradients
    case states = "optimizer state"
    case activations, workspace
    case host = "host memory"
    case data, runtime
  }

  public private(set) var bytes: [Category: Int]
  private let growth: Int
  /// Whether the device's memory is none of the process's.
  public let isApart: Bool

  /// Of the process.
  public var total: Int { bytes.values.reduce(0, +) - (isApart ? device : 0) }
  public subscript(category: Category) -> Int { bytes[category, default: 0] }
  /// What tensors on the device take.
  public var device: Int {
    ([.weights, .gradients, .states, .activations, .workspace] as [Category]).reduce(0) { $0 + self[$1] }
  }

  /// - Parameters:
  ///   - plans: everything that runs; they share one arena.
  ///   - data: bytes of mapped files that the process has read.
  ///   - resident: what the process takes before any tensor, `data` included.
  ///   - staging: memory of the device through which tensors come from behind it.
  ///   - host: what lies in the host's memory behind the device.
  init(_ plans: [Plan], data: Int, resident: Int, staging: Int, host: Int, isApart: Bool = false) {
    self.isApart = isApart
    let parameters = Set(plans.flatMap(\.parameters))
    func total(_ role: Parameter.Role) -> Int {
      parameters.filter { $0.role == role }.reduce(0) { $0 + ProcessMemory.inPages($1.type.byteCount) }
    }
    growth = ProcessMemory.growth(nodes: plans.reduce(0) { $0 + $1.steps.count })
    let patterns = Set(parameters.compactMap(\.type.pattern)).reduce(0) { $0 + ProcessMemory.inPages($1.byteCount) }
    bytes = [
      .weights: total(.weight) + patterns, .gradients: total(.gradient), .states: total(.state), .data: data,
      .host: host,
    ]
    setRuntime(resident)
    // The arena as it is when most of the largest plan is alive; what lies idle between its tensors is workspace.
    guard let largest = plans.max(by: { $0.arenaBytes < $1.arenaBytes }) else { return }
    let alive = largest.peakOccupancy
    let kept = alive[.activation, default: 0] + alive[.input, default: 0]
    bytes[.activations] = kept
    bytes[.gradients, default: 0] += alive[.gradient, default: 0]
    bytes[.workspace] = ProcessMemory.inPages(largest.arenaBytes) - kept - alive[.gradient, default: 0] + staging
  }
}

extension MemoryForecast {
  /// - Parameter resident: what the process takes before any tensor, data included.
  mutating func setRuntime(_ resident: Int) { bytes[.runtime] = max(0, resident - self[.data]) + growth }
}

/// The kernel's figures for this process.
public enum ProcessMemory {
  /// What a process grows by while it trains, beside tensors: threads, metrics, checkpoints' headers, and what sessions
  /// know of their nodes.
  static func growth(nodes: Int) -> Int { 5 << 20 + nodes << 11 }

  private static let page = 4096

  /// Bytes as whole pages.
  static func inPages(_ bytes: Int) -> Int { (bytes + page - 1) / page * page }

  /// The largest resident set so far, in bytes; 0 where the system does not tell.
  public static var peakResident: Int { kilobytes("VmHWM:") << 10 }

  /// The resident set without what has been freed, in bytes; 0 where the system does not tell.
  static var resident: Int {
    _ = trim?(0)
    return kilobytes("VmRSS:") << 10
  }

  /// glibc's malloc_trim, which gives what has been freed back to the system; nil where there is none.
  private static let trim = dlsym(nil, "malloc_trim").map {
    unsafeBitCast($0, to: (@convention(c) (Int) -> Int32).self)
  }

  private static func kilobytes(_ key: String) -> Int {
    guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix(key) })
    else { return 0 }
    return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0
  }
}
