import Foundation
import KilnGraph

/// What a run will take of memory, known before its first step.
public struct MemoryForecast: Sendable, Hashable {
  public var weights: Int
  public var gradients: Int
  public var states: Int
  /// Activations, gradients that are used up at once, and scratch: the arenas of all plans.
  public var arena: Int
  /// The program itself, before any tensor.
  public var runtime: Int

  public var total: Int { weights + gradients + states + arena + runtime }

  init(_ plans: [Plan], evaluation: Plan?) {
    let all = plans + [evaluation].compactMap { $0 }
    let parameters = Set(all.flatMap(\.parameters))
    func bytes(_ role: Parameter.Role) -> Int {
      parameters.filter { $0.role == role }.reduce(0) { $0 + $1.type.byteCount }
    }
    weights = bytes(.weight)
    gradients = bytes(.gradient)
    states = bytes(.state)
    arena = all.reduce(0) { $0 + $1.arenaBytes }
    runtime = ProcessMemory.baseline
  }
}

/// The kernel's figures for this process.
public enum ProcessMemory {
  /// What the program takes before any tensor, roughly: code, Foundation, libomp.
  static let baseline = 48 << 20

  /// The largest resident set so far, in bytes; 0 where the system does not tell.
  public static var peakResident: Int { kilobytes("VmHWM:") << 10 }

  private static func kilobytes(_ key: String) -> Int {
    guard let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix(key) })
    else { return 0 }
    return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0
  }
}
