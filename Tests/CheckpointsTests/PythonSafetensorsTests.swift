// The files against Python's safetensors, where it is installed (`KILN_PYTHON` names the interpreter).

import Foundation
import KilnKernels
import Testing

@testable import KilnCheckpoints

/// Runs a Python program and gives its exit status; nil where there is no such interpreter.
private func runPython(_ program: String, _ arguments: String...) -> Int32? {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  let python = ProcessInfo.processInfo.environment["KILN_PYTHON"] ?? "python3"
  process.arguments = [python, "-c", program] + arguments
  process.standardError = FileHandle.nullDevice
  do { try process.run() } catch { return nil }
  process.waitUntilExit()
  return process.terminationStatus
}

@Suite(.enabled(if: runPython("import safetensors.numpy") == 0)) struct PythonSafetensorsTests {
  private let temporary = TemporaryFolder()

  /// Python reads the file, and writes from it the same bytes.
  @Test func pythonWritesTheSameBytes() throws {
    let url = temporary.url.appendingPathComponent("kiln.safetensors")
    let copy = temporary.url.appendingPathComponent("python.safetensors")
    let program = """
      import sys
      from safetensors.numpy import load_file, save_file
      save_file(load_file(sys.argv[1]), sys.argv[2], {'format': 'pt'})
      """
    // NumPy has no bfloat16.
    let tensors = SafetensorsTests.tensors.filter { $0.type != .bfloat16 }
    try SafetensorsWriter.write(tensors, to: url, contents: writeSample)
    let status = runPython(program, url.path, copy.path)
    #expect(status == 0)
    #expect(try Data(contentsOf: url) == (try Data(contentsOf: copy)))
  }
}
