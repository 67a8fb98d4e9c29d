// Running the built `kiln` as a user does, in a folder of its own.

import Foundation
import Testing

final class Kiln: Sendable {
  struct Result {
    var status: Int32
    var output: String
    var errors: String
  }

  /// Where it runs; removed with the last reference.
  let folder: URL

  init() throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-cli-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func callAsFunction(_ arguments: String...) throws -> Result { try run(arguments) }

  func run(_ arguments: [String], environment: [String: String] = [:]) throws -> Result {
    let process = try start(arguments, environment: environment)
    let output = try #require(process.standardOutput as? Pipe).fileHandleForReading.readDataToEndOfFile()
    let errors = try #require(process.standardError as? Pipe).fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return Result(
      status: process.terminationStatus, output: String(decoding: output, as: UTF8.self),
      errors: String(decoding: errors, as: UTF8.self))
  }

  /// Starts the command; its output and errors are pipes.
  func start(_ arguments: [String], environment: [String: String] = [:]) throws -> Process {
    let process = Process()
    process.executableURL = Self.executable
    process.arguments = arguments
    process.currentDirectoryURL = folder
    process.environment = ProcessInfo.processInfo.environment.merging(
      ["KILN_CACHE": folder.appendingPathComponent("cache").path, "KILN_THREADS": "1"].merging(environment) { $1 },
      uniquingKeysWith: { $1 })
    process.standardOutput = Pipe()
    process.standardError = Pipe()
    try process.run()
    return process
  }

  func write(_ text: String, to name: String) throws { try write(Data(text.utf8), to: name) }

  func write(_ data: Data, to name: String) throws {
    let url = folder.appendingPathComponent(name)
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try data.write(to: url)
  }

  func read(_ name: String) throws -> Data { try Data(contentsOf: folder.appendingPathComponent(name)) }

  func exists(_ name: String) -> Bool {
    FileManager.default.fileExists(atPath: folder.appendingPathComponent(name).path)
  }

  /// The lines of a metrics file, as JSON objects.
  func metrics(_ name: String) throws -> [[String: Double]] {
    try read(name).split(separator: UInt8(ascii: "\n")).map {
      try JSONDecoder().decode([String: Double].self, from: $0)
    }
  }

  /// `kiln` stands beside the program that runs the tests.
  private static let executable: URL = {
    let tests = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
    let running = FileManager.default.fileExists(atPath: "/proc/self/exe") ? tests : Bundle.main.bundleURL
    return running.deletingLastPathComponent().appendingPathComponent("kiln")
  }()
}

/// A text that a tiny model can learn something from.
let sampleText = String(
  (0..<40).map { "Line \($0): the quick brown fox jumps over the lazy dog, \($0 * 7 % 11) times.\n" }.joined())

/// A model so small that a step takes a few milliseconds.
let tinyModel = ["--layers", "2", "--width", "32", "--heads", "2", "--context", "32", "--batch", "2"]
