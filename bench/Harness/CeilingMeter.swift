import Ceilings

/// A unit of arithmetic whose ceiling is measured.
public enum ComputeUnit: String, Codable, Sendable, CaseIterable {
  case fma, dpbf16, dpbusd, maddwd

  fileprivate var code: ceiling_unit {
    switch self {
    case .fma: CEILING_FMA
    case .dpbf16: CEILING_DPBF16
    case .dpbusd: CEILING_DPBUSD
    case .maddwd: CEILING_MADDWD
    }
  }

  /// Operations per second; 0 where the CPU lacks the unit.
  public func measure(threads: Int, seconds: Double) -> Double { ceiling_compute(code, Int32(threads), seconds) }
}

/// The most that memory gives: the best of the patterns, over 4 KiB and over huge pages.
public final class MemoryCeiling {
  static let patterns: [(ceiling_pattern, String)] = [
    (CEILING_READ, "read"), (CEILING_READ_STREAMS, "read, 8 streams"), (CEILING_TRIAD, "non-temporal triad"),
    (CEILING_UPDATE, "in-place update"), (CEILING_UPDATE_STREAMS, "in-place update, 4 streams"),
  ]
  private let memories: [(pages: String, memory: OpaquePointer)]

  /// - Parameter bytes: of each kind of pages; far beyond the caches.
  public init(bytes: Int, threads: Int) throws {
    memories = try [(false, "4 KiB pages"), (true, "huge pages")].map { huge, pages in
      guard let memory = ceiling_memory_create(bytes, huge, Int32(threads)) else {
        throw BenchFailure("the bandwidth ceiling needs \(bytes >> 20) MiB for \(threads) threads, which cannot be had")
      }
      return (pages, memory)
    }
  }

  deinit {
    for (_, memory) in memories { ceiling_memory_free(memory) }
  }

  /// Bytes per second of one pass of every pattern.
  public func measureAll() -> [(name: String, rate: Double)] {
    memories.flatMap { pages, memory in
      Self.patterns.map { ("\($0.1), \(pages)", ceiling_bandwidth(memory, $0.0)) }
    }
  }

  public func measure() -> Double { measureAll().map(\.rate).max() ?? 0 }
}

/// The most that an OpenCL device gives, by kernels of its own.
public final class DeviceCeiling {
  private let handle: OpaquePointer

  /// - Parameter bytes: far beyond its caches.
  public init(index: Int, bytes: Int) throws {
    guard let handle = ceiling_device_open(Int32(index), bytes) else {
      throw BenchFailure(
        "the ceilings of OpenCL device \(index) cannot be measured with \(bytes >> 20) MiB of its memory")
    }
    self.handle = handle
  }

  deinit { ceiling_device_close(handle) }

  /// Operations per second.
  public func compute(seconds: Double) -> Double { ceiling_device_compute(handle, seconds) }
  /// Bytes per second.
  public func bandwidth() -> Double { ceiling_device_bandwidth(handle) }
}

/// Measures the ceilings that a case is held against, as often as it is asked to.
public final class CeilingMeter {
  public let threads: Int
  /// What is measured in place of the CPU.
  private let device: DeviceCeiling?
  /// Seconds that one measurement of a unit takes.
  public var seconds = 0.06
  private let units: Set<ComputeUnit>
  private let memory: MemoryCeiling?

  public init(threads: Int, memoryBytes: Int, device: DeviceCeiling? = nil) throws {
    self.threads = threads
    self.device = device
    units = device == nil ? Set(ComputeUnit.allCases.filter { $0.measure(threads: 1, seconds: 0.001) > 0 }) : [.fma]
    memory = device == nil ? try MemoryCeiling(bytes: memoryBytes, threads: threads) : nil
  }

  /// The unit itself, or the next best where this CPU lacks it.
  public func resolve(_ unit: ComputeUnit) -> ComputeUnit {
    if units.contains(unit) { return unit }
    return unit == .dpbusd && units.contains(.maddwd) ? .maddwd : .fma
  }

  /// The rates that bound a cost; 0 for one that does not matter to it, or that cannot be measured.
  func measure(for cost: Cost, _ unit: ComputeUnit) -> Ceiling {
    Ceiling(
      flops: cost.flops > 0
        ? device?.compute(seconds: seconds) ?? resolve(unit).measure(threads: threads, seconds: seconds) : 0,
      bytes: cost.bytes > 0 ? device?.bandwidth() ?? memory?.measure() ?? 0 : 0)
  }
}

/// Operations and bytes per second that the machine can do at most.
public struct Ceiling: Codable, Hashable, Sendable {
  public var flops: Double
  public var bytes: Double

  public init(flops: Double, bytes: Double) {
    self.flops = flops
    self.bytes = bytes
  }

  /// The least seconds that the cost can take: the longer of arithmetic and memory.
  public func seconds(for cost: Cost) -> Double {
    max(flops > 0 ? cost.flops / flops : 0, bytes > 0 ? cost.bytes / bytes : 0)
  }

  func better(_ other: Ceiling) -> Ceiling { Ceiling(flops: max(flops, other.flops), bytes: max(bytes, other.bytes)) }
}
