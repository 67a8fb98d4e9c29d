import Foundation

/// A contender in a process of its own, which is sent one JSON object a line:
/// `{"prepare": WORK}` is answered `{"ok": true, "note": …}` or `{"unsupported": why}`, `{"run": 3}` is answered
/// `{"seconds": of all three, "bytes": extra or null, "resident": peak or null}`, `{"release": true}` is answered
/// `{"ok": true}`, and any of them `{"error": what}`.
public final class ProcessContender: Contender {
  public let name: String
  private let work: Job
  private let start: () throws -> LineProcess
  /// Whether an error is the bench's own fault, since the process is Kiln.
  private let isOwn: Bool
  private var child: LineProcess?

  /// - Parameter start: gives the process, which may be one that works for other cases too.
  public init(_ name: String, _ work: Job, isOwn: Bool, start: @escaping () throws -> LineProcess) {
    self.name = name
    self.work = work
    self.isOwn = isOwn
    self.start = start
  }

  public var process: Int32? { child?.identifier }

  public func prepare() throws -> String? {
    child = try start()
    return try ask(["prepare": work]).note
  }

  public func run(_ times: Int) throws -> Timing {
    let answer = try ask(["run": times])
    guard let seconds = answer.seconds, seconds > 0 else { throw Unavailable("\(name) answered a run without seconds") }
    return Timing(seconds: seconds, extraBytes: answer.bytes, peakResident: answer.resident)
  }

  public func release() {
    _ = try? ask(["release": true])
    child = nil
  }

  private func ask(_ request: [String: some Encodable]) throws -> Answer {
    guard let child else { throw Unavailable("\(name) is not running") }
    let line = try child.ask(JSONEncoder().encode(request), seconds: 1200)
    guard let answer = try? JSONDecoder().decode(Answer.self, from: line) else {
      throw Unavailable("\(name) answered '\(String(decoding: line.prefix(200), as: UTF8.self))', which is no answer")
    }
    if let reason = answer.unsupported { throw Unavailable(reason) }
    if let error = answer.error {
      if isOwn { throw BenchFailure(error) }
      throw Unavailable(error)
    }
    return answer
  }

  private struct Answer: Decodable {
    var note, unsupported, error: String?
    var seconds: Double?
    var bytes, resident: Int?
  }
}
