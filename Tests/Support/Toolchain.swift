import Foundation
import Testing

/// The C compiler and what the tests build with it, in a folder that is removed when the process ends.
public enum Toolchain {
  public static let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  public static let folder: URL = {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("kiln-abi-\(getpid())")
    try? FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    atexit { try? FileManager.default.removeItem(at: Toolchain.folder) }
    return folder
  }()

  /// The clang that lies beside swift, else the first on PATH; nil if there is none.
  public static let clang: String? = {
    let folder = find("swift").map { URL(fileURLWithPath: $0).resolvingSymlinksInPath().deletingLastPathComponent() }
    let beside = folder?.appendingPathComponent("clang").path
    return beside.flatMap { FileManager.default.isExecutableFile(atPath: $0) ? $0 : nil } ?? find("clang")
  }()

  /// The system's own compiler, if any: what a C user calls.
  public static let cc = find("cc")

  private static func find(_ program: String) -> String? {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    return folders.map { "\($0)/\(program)" }.first { FileManager.default.isExecutableFile(atPath: $0) }
  }

  /// Runs a program; its exit status and all that it printed.
  public static func run(_ program: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
    let process = Process()
    let pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.standardOutput = pipe
    process.standardError = pipe
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }

  /// Runs a program that must succeed; what it printed.
  @discardableResult
  public static func check(_ program: String?, _ arguments: [String]) throws -> String {
    let program = try #require(program)
    let (status, output) = try run(program, arguments)
    try #require(status == 0, "\(program) \(arguments.joined(separator: " ")): \(output)")
    return output
  }

  /// libkiln.so as `make libkiln` builds it, only less optimised: built once for all tests.
  public static let library: Result<URL, any Error> = Result {
    let script = package.appendingPathComponent("scripts/libkiln.sh").path
    try check("env", ["CC=\(#require(clang))", "CFLAGS=-O1", "bash", script, folder.path])
    return folder.appendingPathComponent("libkiln.so")
  }

  public static let strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]

  /// Compiles a C99 program under strict flags and links it with the library; the executable.
  public static func build(_ source: URL, compiler: String?) throws -> URL {
    _ = try library.get()
    let program = folder.appendingPathComponent(source.deletingPathExtension().lastPathComponent)
    try check(
      compiler,
      strict + [
        "-O1", "-I\(package.path)/include", source.path, "-o", program.path, "-L\(folder.path)",
        "-Wl,-rpath,\(folder.path)", "-lkiln", "-lm",
      ])
    return program
  }
}
