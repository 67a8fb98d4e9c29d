import Foundation

/// A figure beside the time of a case, such as tokens per second.
public struct Figure: Codable, Hashable, Sendable {
  public var name: String
  public var value: Double
  public var unit: String

  public init(_ name: String, _ value: Double, _ unit: String) {
    self.name = name
    self.value = value
    self.unit = unit
  }
}

/// What one contender reached in a case.
public struct ContenderResult: Codable, Hashable, Sendable {
  public var name: String
  public var note: String?
  /// Why there are no figures.
  public var unavailable: String?
  /// Seconds of one run.
  public var seconds: Spread?
  /// Of the ceiling measured before and after each round.
  public var share: Spread?
  /// Its seconds over those of the first contender, round by round: what Kiln is faster by.
  public var ratio: Spread?
  /// Memory beyond inputs and results.
  public var extraBytes: Int?
  /// The largest resident set of its process, where it has one.
  public var peakResident: Int?

  public init(name: String) { self.name = name }

  /// Keeps the most memory that any run took.
  mutating func note(_ timing: Timing) {
    extraBytes = [extraBytes, timing.extraBytes].compactMap { $0 }.max()
    peakResident = [peakResident, timing.peakResident].compactMap { $0 }.max()
  }
}

public struct CaseResult: Codable, Hashable, Sendable {
  public var family: String
  public var name: String
  public var cost: Cost
  /// The unit whose ceiling was taken.
  public var unit: ComputeUnit
  public var total: String?
  public var ceiling: Ceiling
  /// CPUs that others used meanwhile.
  public var foreignLoad: Double?
  public var contenders: [ContenderResult]
  public var figures: [Figure] = []

  public init(
    family: String, name: String, cost: Cost, unit: ComputeUnit, total: String?, ceiling: Ceiling,
    contenders: [ContenderResult]
  ) {
    self.family = family
    self.name = name
    self.cost = cost
    self.unit = unit
    self.total = total
    self.ceiling = ceiling
    self.contenders = contenders
  }

  public subscript(name: String) -> ContenderResult? { contenders.first { $0.name == name } }
}

/// All that was measured on one machine at one commit.
public struct Results: Codable, Hashable, Sendable {
  public var machine: Machine
  public var commit: String
  /// Whether the sources differed from the commit.
  public var dirty: Bool
  public var date: String
  public var ceilings: [CeilingResult]
  public var cases: [CaseResult]

  public init(machine: Machine, commit: Commit, ceilings: [CeilingResult]) {
    self.machine = machine
    self.commit = commit.name
    dirty = commit.dirty
    date = ISO8601DateFormatter().string(from: Date())
    self.ceilings = ceilings
    cases = []
  }

  public var fileName: String { "\(machine.slug)-\(Commit(name: commit, dirty: dirty).label).json" }

  public static func read(_ path: String) throws -> Results {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw BenchFailure("'\(path)' cannot be read; give a file that a run of the bench wrote")
    }
    do { return try JSONDecoder().decode(Results.self, from: data) } catch {
      throw BenchFailure("'\(path)' is no result of this bench: \(error)")
    }
  }

  /// Writes the file, and keeps the cases of an earlier run at the same commit that this one left out.
  public func write(to folder: String) throws -> String {
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let path = folder + "/" + fileName
    var all = self
    if let earlier = try? Results.read(path) {
      let measured = Set(cases.map(\.key))
      all.cases = earlier.cases.filter { !measured.contains($0.key) } + cases
      if ceilings.isEmpty { all.ceilings = earlier.ceilings }
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    try encoder.encode(all).write(to: URL(fileURLWithPath: path), options: .atomic)
    return path
  }
}

extension CaseResult {
  /// Names the case among all.
  public var key: String { "\(family): \(name)" }
}

/// The state of the sources, by git.
public struct Commit: Sendable {
  public var name: String
  public var dirty: Bool

  /// The name, and whether there were changes.
  public var label: String { name + (dirty ? "-dirty" : "") }

  public init(name: String, dirty: Bool) {
    self.name = name
    self.dirty = dirty
  }

  /// Of the repository that the current folder belongs to; results themselves do not count as changes.
  public static func current() -> Commit {
    guard let name = git("rev-parse", "--short=10", "HEAD"), !name.isEmpty else {
      return Commit(name: "unknown", dirty: false)
    }
    return Commit(name: name, dirty: git("status", "--porcelain", "--", ":/", ":(exclude,top)bench/Results") != "")
  }

  private static func git(_ arguments: String...) -> String? {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["git"] + arguments
    let output = Pipe()
    process.standardOutput = output
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return nil }
    let data = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else { return nil }
    return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
  }
}
