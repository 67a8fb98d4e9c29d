import Foundation

/// A child process that answers each line on its standard input with one on its standard output.
public final class LineProcess {
  private let process = Process()
  private let input = Pipe()
  private let output = Pipe()
  private var buffer = Data()
  private let name: String

  /// - Parameter environment: on top of this process's own.
  public init(_ name: String, _ command: [String], environment: [String: String] = [:]) throws {
    self.name = name
    signal(SIGPIPE, SIG_IGN)
    process.executableURL = URL(fileURLWithPath: command[0])
    process.arguments = Array(command.dropFirst())
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = input
    process.standardOutput = output
    do { try process.run() } catch {
      throw Unavailable("\(command[0]) cannot be started: \(error.localizedDescription)")
    }
  }

  deinit { stop() }

  public var identifier: Int32 { process.processIdentifier }
  public var isRunning: Bool { process.isRunning }

  public func stop() {
    guard process.isRunning else { return }
    process.terminate()
    process.waitUntilExit()
  }

  /// Sends one line and waits for the answer, at most `seconds`.
  public func ask(_ line: Data, seconds: Double) throws -> Data {
    do { try input.fileHandleForWriting.write(contentsOf: line + Data("\n".utf8)) } catch {
      throw Unavailable("\(name) has ended")
    }
    let deadline = Date(timeIntervalSinceNow: seconds)
    while true {
      if let end = buffer.firstIndex(of: UInt8(ascii: "\n")) {
        defer { buffer = Data(buffer[(end + 1)...]) }
        return Data(buffer[..<end])
      }
      try fill(deadline)
    }
  }

  private func fill(_ deadline: Date) throws {
    var descriptor = pollfd(fd: output.fileHandleForReading.fileDescriptor, events: Int16(POLLIN), revents: 0)
    let left = deadline.timeIntervalSinceNow
    guard left > 0, poll(&descriptor, 1, Int32(left * 1000)) > 0 else {
      stop()
      throw Unavailable("\(name) gave no answer in time")
    }
    let data = output.fileHandleForReading.availableData
    guard !data.isEmpty else { throw Unavailable("\(name) has ended without an answer") }
    buffer += data
  }
}
