// Safetensors: what is written, what is read, and what is refused.

import Foundation
import KilnKernels
import Testing

@testable import KilnCheckpoints

@Suite struct SafetensorsTests {
  private let temporary = TemporaryFolder()
  private var folder: URL { temporary.url }

  static let tensors = [
    TensorDescription(name: "b", type: .float32, shape: [2]),
    TensorDescription(name: "a", type: .uint8, shape: [1, 3]),
    TensorDescription(name: "é\"", type: .int64, shape: []),
    TensorDescription(name: "h", type: .bfloat16, shape: [0, 3]),
    TensorDescription(name: "c", type: .float32, shape: [1]),
  ]

  /// A file of a header and of so many bytes of data.
  private func file(_ header: [UInt8], length: UInt64? = nil, dataCount: Int, in folder: URL) throws -> URL {
    let length = length ?? UInt64(header.count)
    let url = folder.appendingPathComponent("x.safetensors")
    try Data((0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * $0)) } + header + Data(count: dataCount)).write(
      to: url)
    return url
  }

  @Test func writesTheCanonicalBytes() throws {
    let url = folder.appendingPathComponent("x.safetensors")
    try SafetensorsWriter.write(Self.tensors, to: url, contents: writeSample)
    let content = [UInt8](try Data(contentsOf: url))
    // The header that Python's safetensors 0.8 writes for these tensors.
    let header =
      #"{"__metadata__":{"format":"pt"},"é\"":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"#
      + #""b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]},"#
      + #""c":{"dtype":"F32","shape":[1],"data_offsets":[16,20]},"#
      + #""h":{"dtype":"BF16","shape":[0,3],"data_offsets":[20,20]},"#
      + #""a":{"dtype":"U8","shape":[1,3],"data_offsets":[20,23]}}"#
    let padded = (header.utf8.count + 7) / 8 * 8
    #expect(content.count == 8 + padded + 23)
    #expect(content[0] == UInt8(padded & 0xFF) && content[1] == UInt8(padded >> 8))
    #expect(String(decoding: content[8..<8 + padded], as: UTF8.self).trimmingCharacters(in: .whitespaces) == header)
    #expect(try names(in: folder) == ["x.safetensors"])
  }

  @Test func readsWhatItWrote() throws {
    let url = folder.appendingPathComponent("x.safetensors")
    try SafetensorsWriter.write(
      Self.tensors, metadata: ["format": "pt", "note": "\"\n"], to: url, contents: writeSample)
    let file = try SafetensorsFile(url)
    #expect(file.metadata == ["format": "pt", "note": "\"\n"])
    #expect(file.tensors.keys.elements == ["é\"", "b", "c", "h", "a"])
    for tensor in Self.tensors {
      let stored = try #require(file.tensors[tensor.name])
      #expect(stored.description == tensor)
      #expect(bytes(of: stored) == (try sampleBytes(of: tensor)))
    }
  }

  @Test func storageTypesMatchDTypes() {
    for dtype in DType.allCases {
      #expect(StorageType(dtype).dtype == dtype)
      #expect(StorageType(dtype).bits == 8 * dtype.size)
    }
    #expect(StorageType.bool.dtype == nil)
  }

  @Test func readsUnalignedTensorsInAnyOrder() throws {
    let header = "{\(Self.entry("w", "F32", "1", "1,5")),\(Self.entry("m", "BOOL", "1", "0,1"))}"
    let file = try SafetensorsFile(try file(Array(header.utf8), dataCount: 5, in: folder))
    #expect(file.tensors.keys.elements == ["m", "w"])
    #expect(file.tensors["w"]?.type == .float32)
    #expect(file.tensors["w"].map(bytes(of:)) == [0, 0, 0, 0])
  }

  /// A header's entry for a tensor.
  private static func entry(_ name: String, _ dtype: String, _ shape: String, _ offsets: String) -> String {
    #""\#(name)":{"dtype":"\#(dtype)","shape":[\#(shape)],"data_offsets":[\#(offsets)]}"#
  }

  /// Headers over four bytes of data, each wrong in one way, and a word of the message that says so.
  static let wrongHeaders: [(header: String, word: String)] = [
    ("[]", "object"), ("", "object"), (" {}", "object"), ("{", "JSON"), ("{}", "0 bytes of data"),
    ("{\(entry("a", "F32", "1", "0,4")),\(entry("a", "F32", "1", "0,4"))}", "duplicate"),
    ("{\(entry("a", "F33", "1", "0,4"))}", "unknown dtype 'F33'"),
    ("{\(entry("a", "F32", "1", "-4,0"))}", "range"),
    ("{\(entry("a", "F32", "1", "4,0"))}", "range"),
    ("{\(entry("a", "F32", "1", "0"))}", "range"),
    ("{\(entry("a", "F32", "1", "0.0,4.0"))}", "integers"),
    ("{\(entry("a", "F32", "1", "0,99999999999999999999999"))}", "integers"),
    ("{\(entry("a", "F32", "1", "0,true"))}", "integers"),
    (#"{"a":{"dtype":"F32","shape":[1]}}"#, "needs exactly"), (#"{"a":5}"#, "needs exactly"),
    (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}}"#, "needs exactly"),
    ("{\(entry("a", "F32", "-1", "0,4"))}", "negative extent"),
    ("{\(entry("a", "F32", "4294967296,4294967296", "0,4"))}", "too large"),
    ("{\(entry("a", "F32", "2", "0,4"))}", "takes 8 bytes"),
    ("{\(entry("a", "F4", "3", "0,2")),\(entry("b", "U8", "2", "2,4"))}", "whole number"),
    ("{\(entry("a", "U8", "2", "0,2")),\(entry("b", "U8", "1", "3,4"))}", "begins at 3"),
    ("{\(entry("a", "U8", "2", "0,2")),\(entry("b", "U8", "3", "1,4"))}", "begins at 1"),
    ("{\(entry("a", "U8", "5", "0,5"))}", "5 bytes of data, but 4"),
    ("{\(entry("a", "U8", "3", "0,3"))}", "3 bytes of data, but 4"),
    ("{\"__metadata__\":{\"k\":1},\(entry("a", "F32", "1", "0,4"))}", "metadata 'k'"),
    ("{\"__metadata__\":[],\(entry("a", "F32", "1", "0,4"))}", "__metadata__"),
  ]

  @Test(arguments: wrongHeaders) func refusesWrongHeaders(header: String, word: String) throws {
    let url = try file(Array(header.utf8), dataCount: 4, in: folder)
    let message = failure { _ = try SafetensorsFile(url) }?.message
    #expect(message?.contains(word) == true && message?.contains(url.path) == true, "\(message ?? "accepted")")
  }

  @Test(arguments: [0, 3, 100_000_001, UInt64.max]) func refusesWrongLengths(length: UInt64) throws {
    let url = try file(Array("{}".utf8), length: length, dataCount: 0, in: folder)
    #expect(failure { _ = try SafetensorsFile(url) }?.kind == .format)
  }

  @Test func refusesWhatIsNoFile() throws {
    let empty = folder.appendingPathComponent("empty")
    try Data().write(to: empty)
    #expect(failure { _ = try SafetensorsFile(empty) }?.kind == .format)
    #expect(failure { _ = try SafetensorsFile(folder) }?.message.contains("not a regular file") == true)
    let missing = failure { _ = try SafetensorsFile(folder.appendingPathComponent("none")) }
    #expect(missing?.message.contains("No such file") == true)
  }

  @Test func truncatedFilesAreRefusedAtEveryLength() throws {
    let url = folder.appendingPathComponent("x.safetensors")
    try SafetensorsWriter.write(Self.tensors, to: url, contents: writeSample)
    let whole = try Data(contentsOf: url)
    for count in 0..<whole.count {
      try whole.prefix(count).write(to: url)
      #expect(failure { _ = try SafetensorsFile(url) }?.kind == .format)
    }
    try (whole + [0]).write(to: url)
    #expect(failure { _ = try SafetensorsFile(url) }?.kind == .format)
  }

  /// Whatever the bytes, the header is refused or it is a valid layout.
  @Test func mutatedHeadersAreRefusedOrValid() throws {
    let header = Array(try SafetensorsHeader(describing: Self.tensors, metadata: ["format": "pt"]).serialized()[8...])
    var generator = SeededGenerator(state: 1)
    var refused = 0
    for _ in 0..<5000 {
      do {
        let parsed = try SafetensorsHeader(parsing: mutate(header, with: &generator), dataCount: 23)
        let total = try parsed.entries.reduce(0) { try $0 + $1.description.byteCount() }
        #expect(total == 23 && parsed.entries.last?.range.upperBound == 23)
      } catch {
        refused += 1
      }
    }
    #expect(refused > 1000 && refused < 5000)
  }

  @Test func refusesWrongContents() throws {
    let url = folder.appendingPathComponent("x.safetensors")
    let short = failure {
      try SafetensorsWriter.write(Self.tensors, to: url) { (_, file) throws(KilnError) in
        try file.write([UInt8](repeating: 0, count: 3).span.bytes)
      }
    }
    #expect(short?.message.contains("3 bytes were given, not 8") == true)
    let twice = failure {
      try SafetensorsWriter.write(Self.tensors + [Self.tensors[0]], to: url, contents: writeSample)
    }
    #expect(twice?.message.contains("'b'") == true)
    let leftovers = try names(in: folder)
    #expect(leftovers.isEmpty)
  }
}
