import Foundation

/// The runs of one experiment on one machine, in a file with a line for each.
public struct TrainingResults {
  public let path: String
  public private(set) var runs: [TrainingRun] = []

  /// - Parameter path: a file that does not exist holds none.
  public init(_ path: String) throws {
    self.path = path
    guard let data = FileManager.default.contents(atPath: path) else { return }
    for (index, line) in data.split(separator: UInt8(ascii: "\n")).enumerated() {
      do { add(try JSONDecoder().decode(TrainingRun.self, from: line)) } catch {
        throw BenchFailure("line \(index + 1) of '\(path)' is no training run; repair or remove it: \(error)")
      }
    }
  }

  public func contains(_ key: TrainingRun.Key) -> Bool { runs.contains { $0.key == key } }

  /// Adds a run, which replaces an earlier one with the same key, and writes its line at once.
  public mutating func append(_ run: TrainingRun) throws {
    add(run)
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let folder = URL(fileURLWithPath: path).deletingLastPathComponent()
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    guard let file = fopen(path, "a") else { throw BenchFailure("'\(path)' cannot be written") }
    defer { fclose(file) }
    let line = try encoder.encode(run) + Data("\n".utf8)
    guard line.withUnsafeBytes({ fwrite($0.baseAddress, 1, $0.count, file) }) == line.count, fflush(file) == 0 else {
      throw BenchFailure("'\(path)' could not be written whole; is the disk full?")
    }
  }

  private mutating func add(_ run: TrainingRun) {
    if let index = runs.firstIndex(where: { $0.key == run.key }) { runs[index] = run } else { runs.append(run) }
  }
}
