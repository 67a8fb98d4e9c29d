// Files that appear complete or not at all.

import Foundation
import KilnKernels
import Testing

@testable import KilnCheckpoints

/// Where there is a device that is always full.
let hasFullDevice = FileManager.default.fileExists(atPath: "/dev/full")

/// Leads the temporary name of a file to the device that is always full.
func fillDisk(under url: URL) throws {
  let partial = url.deletingLastPathComponent().appendingPathComponent(".\(url.lastPathComponent).partial")
  try FileManager.default.createSymbolicLink(atPath: partial.path, withDestinationPath: "/dev/full")
}

@Suite struct AtomicFileTests {
  private let temporary = TemporaryFolder()
  private var folder: URL { temporary.url }

  @Test func replacesOnlyWhenCommitted() throws {
    let url = folder.appendingPathComponent("f")
    try AtomicFile.write(Data("old".utf8), to: url)
    var file: AtomicFile? = try AtomicFile(url)
    try file?.write([UInt8]("new".utf8).span.bytes)
    #expect(try String(contentsOf: url, encoding: .utf8) == "old")
    file = nil
    #expect(try names(in: folder) == ["f"])
    try AtomicFile.write(Data("new".utf8), to: url)
    #expect(try String(contentsOf: url, encoding: .utf8) == "new")
  }

  @Test func namesPathAndReason() throws {
    let missing = failure { _ = try AtomicFile(folder.appendingPathComponent("none/f")) }
    #expect(missing?.message.contains("none/f") == true && missing?.message.contains("No such file") == true)
    try Data().write(to: folder.appendingPathComponent("file"))
    let inFile = failure { _ = try AtomicFile(folder.appendingPathComponent("file/f")) }
    #expect(inFile?.message.contains("Not a directory") == true)
  }

  @Test(.enabled(if: hasFullDevice)) func fullDisk() throws {
    let url = folder.appendingPathComponent("x.safetensors")
    try AtomicFile.write(Data("old".utf8), to: url)
    try fillDisk(under: url)
    let error = failure { try SafetensorsWriter.write(SafetensorsTests.tensors, to: url, contents: writeSample) }
    #expect(error?.message.contains(url.path) == true && error?.message.contains("No space left") == true)
    #expect(error?.hint?.contains("free some space") == true)
    #expect(try names(in: folder) == ["x.safetensors"])
    #expect(try String(contentsOf: url, encoding: .utf8) == "old")
  }
}
