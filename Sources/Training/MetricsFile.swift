// metrics.jsonl: one JSON object per line, written while the run goes on and cut back when it is resumed.

import Foundation
import KilnCheckpoints
import KilnKernels

/// The open metrics file of a run. A line counts once its newline is there: what a killed run left unfinished at the
/// end is passed over by `read`, and removed on resume.
public final class MetricsFile {
  public let url: URL
  private let descriptor: Int32

  /// Opens the file to append, keeping only the lines of steps before `step` (0 keeps none: a new run). Throws if the
  /// file cannot be read or written, or a line of it is damaged; it is then as it was.
  public init(appendingTo url: URL, resumeAt step: Int) throws(KilnError) {
    try Self.cut(url, before: step)
    descriptor = open(url.path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw Self.fault("open", url, reason: String(cString: strerror(errno))) }
    self.url = url
  }

  deinit { close(descriptor) }

  /// Writes one line, at once: who follows the file sees it. Throws if a number is not finite (JSON has no such
  /// numbers) or if the line could not be written whole.
  public func append(_ metrics: StepMetrics) throws(KilnError) {
    var rest = Array(try Self.line(metrics).utf8)[...]
    while !rest.isEmpty {
      let written = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
      if written < 0 && errno == EINTR { continue }
      guard written > 0 else { throw Self.fault("write to", url, reason: String(cString: strerror(errno))) }
      rest = rest.dropFirst(written)
    }
  }

  /// All lines of a metrics file. Throws, with the line's number, if one is not a step's metrics.
  public static func read(_ url: URL) throws(KilnError) -> [StepMetrics] {
    let content = try content(of: url)
    var metrics: [StepMetrics] = []
    for line in lines(of: content) {
      metrics.append(try decode(line, as: StepMetrics.self, number: metrics.count + 1, of: url))
    }
    return metrics
  }
}

extension MetricsFile {
  private struct StepOnly: Decodable { var step: Int }

  private static func cut(_ url: URL, before step: Int) throws(KilnError) {
    var status = stat()
    guard stat(url.path, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size > 0 else { return }
    var kept = Data()
    if step > 0 {
      for (index, line) in lines(of: try content(of: url)).enumerated()
      where try decode(line, as: StepOnly.self, number: index + 1, of: url).step < step {
        kept += line + [newline]
      }
    }
    if kept.count != status.st_size { try AtomicFile.write(kept, to: url) }
  }

  private static let newline = UInt8(ascii: "\n")

  /// The complete lines: what follows the last newline is not one.
  private static func lines(of content: Data) -> [Data] {
    content.split(separator: newline, omittingEmptySubsequences: false).dropLast()
  }

  private static func content(of url: URL) throws(KilnError) -> Data {
    do {
      return try Data(contentsOf: url)
    } catch {
      let cause = (error as NSError).userInfo[NSUnderlyingErrorKey] as? POSIXError
      let reason = cause.map { String(cString: strerror(Int32($0.code.rawValue))) } ?? error.localizedDescription
      throw fault("read", url, reason: reason)
    }
  }

  private static func decode<Line: Decodable>(
    _ line: Data, as type: Line.Type, number: Int, of url: URL
  ) throws(KilnError) -> Line {
    do {
      return try JSONDecoder().decode(type, from: line)
    } catch {
      throw KilnError(
        .format, "line \(number) of '\(url.path)' is not the metrics of a step",
        hint: "repair or remove that line, or move the file away")
    }
  }

  /// The JSON object and its newline. A `Double` describes itself by the fewest digits that give it back exactly.
  private static func line(_ metrics: StepMetrics) throws(KilnError) -> String {
    let fields: [(StepMetrics.CodingKeys, (any CustomStringConvertible)?)] = [
      (.step, metrics.step), (.loss, metrics.loss), (.gradNorm, metrics.gradNorm), (.lr, metrics.lr),
      (.tokens, metrics.tokens), (.seconds, metrics.seconds), (.tokensPerSecond, metrics.tokensPerSecond),
      (.peakBytes, metrics.peakBytes), (.lossScale, metrics.lossScale), (.evalLoss, metrics.evalLoss),
      (.evalBitsPerByte, metrics.evalBitsPerByte),
    ]
    var members: [String] = []
    for case (let key, let value?) in fields {
      if let real = value as? Double, !real.isFinite {
        throw KilnError(.numerics, "\(key.rawValue) of step \(metrics.step) is \(real), which metrics cannot hold")
      }
      members.append("\"\(key.rawValue)\": \(value)")
    }
    return "{\(members.joined(separator: ", "))}\n"
  }

  private static func fault(_ action: String, _ url: URL, reason: String) -> KilnError {
    KilnError(
      .file, "cannot \(action) '\(url.path)': \(reason)",
      hint: "check that its folder exists, is writable and has free space")
  }
}
