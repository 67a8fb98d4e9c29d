import Foundation

/// What the figures were measured on.
public struct Machine: Codable, Hashable, Sendable {
  public var cpu: String
  /// CPUs that this process may use.
  public var cpus: Int
  public var threads: Int
  /// The row of kernels in use.
  public var isa: String
  /// Such as "L1d 32K, L2 512K, L3 8192K".
  public var caches: String
  public var lastLevelCacheBytes: Int
  public var memoryBytes: Int
  public var system: String
  /// The OpenCL device that was measured in place of the CPU.
  public var device: String?

  public init(threads: Int, isa: String, device: String? = nil) {
    self.device = device
    let info = Self.read("/proc/cpuinfo")?.split(separator: "\n") ?? []
    func field(_ name: String) -> String? {
      info.first { $0.hasPrefix(name) }?.split(separator: ":").dropFirst().first
        .map { $0.trimmingCharacters(in: .whitespaces) }
    }
    let numbers = ["cpu family", "model", "stepping"].compactMap { name in field(name + "\t").map { "\(name) \($0)" } }
    cpu = (field("model name") ?? "unknown CPU") + (numbers.isEmpty ? "" : " (\(numbers.joined(separator: ", ")))")
    let cpus = ProcessInfo.processInfo.activeProcessorCount
    self.cpus = cpus
    self.threads = threads
    self.isa = isa
    let caches = Self.cacheSizes()
    self.caches = caches.map { "\($0.name) \($0.size >> 10)K" }.joined(separator: ", ")
    lastLevelCacheBytes = caches.last.map { $0.size * max(1, cpus / max(1, $0.sharedBy)) } ?? 32 << 20
    memoryBytes = Int(ProcessInfo.processInfo.physicalMemory)
    system =
      Self.read("/proc/version")?.split(separator: " ").prefix(3).joined(separator: " ")
      ?? ProcessInfo.processInfo.operatingSystemVersionString
  }

  /// Enough memory that no cache holds a part worth speaking of.
  public var streamBytes: Int { min(max(256 << 20, 4 * lastLevelCacheBytes), memoryBytes / 8) }

  /// A name for files: "amd-epyc-family-23-model-1-stepping-2-avx2-2t".
  public var slug: String {
    let text = "\(device ?? cpu) \(isa) \(threads)t".lowercased().replacingOccurrences(of: "cpu ", with: "")
    return text.split { !($0.isASCII && ($0.isLetter || $0.isNumber)) }.joined(separator: "-")
  }

  /// Data and unified caches of the first CPU, smallest level first.
  private static func cacheSizes() -> [(name: String, size: Int, sharedBy: Int)] {
    (0..<8).compactMap { index in
      let folder = "/sys/devices/system/cpu/cpu0/cache/index\(index)/"
      guard let level = read(folder + "level"), let type = read(folder + "type"), type != "Instruction",
        let size = read(folder + "size"), size.hasSuffix("K"), let kilobytes = Int(size.dropLast())
      else { return nil }
      return (
        "L\(level)\(type == "Data" ? "d" : "")", kilobytes << 10, cpuCount(read(folder + "shared_cpu_list") ?? "0")
      )
    }
  }

  /// "0-3,8" is 5.
  private static func cpuCount(_ list: String) -> Int {
    list.split(separator: ",").reduce(0) { count, range in
      let ends = range.split(separator: "-").compactMap { Int($0) }
      return count + (ends.count == 2 ? ends[1] - ends[0] + 1 : 1)
    }
  }

  private static func read(_ path: String) -> String? {
    (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
