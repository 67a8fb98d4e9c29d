// What a checkpoint says of itself: its files with their sizes and checksums.

import Foundation
import KilnKernels

/// `manifest.json` of a checkpoint. It is written after all other files, so a checkpoint that has one was complete.
public struct Manifest: Sendable, Codable, Equatable {
  public struct File: Sendable, Codable, Equatable {
    public var name: String
    public var bytes: Int
    /// zlib's CRC-32 of the content.
    public var crc32: UInt32
  }

  static let name = "manifest.json"

  public var step: Int
  public var kilnVersion: String
  /// Sorted by name.
  public var files: [File]

  /// Brings every file of a folder to the disk and takes its size and checksum.
  init(of folder: URL, step: Int, kilnVersion: String) throws(KilnError) {
    self.step = step
    self.kilnVersion = kilnVersion
    files = []
    for name in try Folder.names(in: folder) where name != Self.name {
      let url = folder.appendingPathComponent(name)
      let bytes = try Folder.fileSize(url)
      files.append(File(name: name, bytes: bytes, crc32: try Self.checksum(of: url)))
      try Folder.synchronize(url)
    }
  }

  init(readingFrom folder: URL) throws(KilnError) {
    let url = folder.appendingPathComponent(Self.name)
    let file = try MappedFile(url)
    do {
      self = try JSONDecoder().decode(Self.self, from: Data(file.copyBytes(in: 0..<file.count)))
    } catch {
      throw KilnError(.format, "'\(url.path)' is not a valid manifest")
    }
    guard step >= 0, Set(files.map(\.name)).count == files.count,
      files.allSatisfy({ isPlainFileName($0.name) && $0.bytes >= 0 })
    else { throw KilnError(.format, "'\(url.path)' is not a valid manifest") }
  }

  func write(to folder: URL) throws(KilnError) {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    guard let data = try? encoder.encode(self) else { throw KilnError(.format, "the manifest cannot be encoded") }
    try AtomicFile.write(data, to: folder.appendingPathComponent(Self.name))
  }

  /// Whether all files are there with their sizes.
  func checkSizes(in folder: URL) throws(KilnError) {
    for file in files {
      let url = folder.appendingPathComponent(file.name)
      let bytes = try Folder.fileSize(url)
      guard bytes == file.bytes else {
        throw KilnError(.data, "'\(url.path)' has \(bytes) bytes, not the \(file.bytes) of its manifest")
      }
    }
  }

  /// Whether all files have the content that was written.
  func checkChecksums(in folder: URL) throws(KilnError) {
    for file in files {
      let url = folder.appendingPathComponent(file.name)
      guard try Self.checksum(of: url) == file.crc32 else {
        throw KilnError(.data, "'\(url.path)' is damaged: its checksum is not that of its manifest")
      }
    }
  }

  /// Reads in pieces rather than through a mapping, so that a large file does not count as resident memory.
  private static func checksum(of url: URL) throws(KilnError) -> UInt32 {
    let descriptor = open(url.path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("open", url) }
    defer { close(descriptor) }
    var crc = CRC32()
    var buffer = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw .system("read", url) }
      if count == 0 { return crc.value }
      crc.update(buffer.span.extracting(first: count).bytes)
    }
  }
}
