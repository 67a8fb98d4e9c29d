// Opening files that come from the user, with errors that name them.

import Foundation
import KilnKernels

/// A regular file that is not empty.
struct InputFile {
  let url: URL
  let size: Int

  /// - Throws: `file` if it is missing, a folder, no regular file or empty.
  init(_ url: URL) throws(KilnError) {
    let attributes: [FileAttributeKey: Any]
    do { attributes = try FileManager.default.attributesOfItem(atPath: url.resolvingSymlinksInPath().path) } catch {
      throw KilnError(.file, "cannot read \(url.path): \(reason(error))")
    }
    let type = attributes[.type] as? FileAttributeType
    guard type != .typeDirectory else { throw KilnError(.file, "\(url.path) is a folder, not a file") }
    guard type == .typeRegular else { throw KilnError(.file, "\(url.path) is not a regular file") }
    size = (attributes[.size] as? NSNumber)?.intValue ?? 0
    guard size > 0 else { throw KilnError(.file, "\(url.path) is empty") }
    self.url = url
  }

  /// The first bytes, at most `count`.
  func prefix(_ count: Int) throws(KilnError) -> [UInt8] { try read(try openForReading(url), count, of: url) }

  /// A hash of all the bytes.
  func contentHash() throws(KilnError) -> String {
    let handle = try openForReading(url)
    var hash = ContentHash()
    while true {
      let bytes = try read(handle, 1 << 20, of: url)
      if bytes.isEmpty { return hash.value }
      hash.update(bytes)
    }
  }

  /// The bytes, mapped into memory rather than read.
  func mapped() throws(KilnError) -> Data {
    do { return try Data(contentsOf: url, options: .alwaysMapped) } catch {
      throw KilnError(.file, "cannot map \(url.path): \(reason(error))")
    }
  }
}

func openForReading(_ url: URL) throws(KilnError) -> FileHandle {
  do { return try FileHandle(forReadingFrom: url) } catch {
    throw KilnError(.file, "cannot read \(url.path): \(reason(error))")
  }
}

/// Up to `count` more bytes; none at the end.
func read(_ handle: FileHandle, _ count: Int, of url: URL) throws(KilnError) -> [UInt8] {
  do { return Array(try handle.read(upToCount: count) ?? Data()) } catch {
    throw KilnError(.file, "cannot read \(url.path): \(reason(error))")
  }
}

/// Why a file operation failed, in a few words.
func reason(_ error: any Error) -> String {
  switch (error as? CocoaError)?.code {
  case .fileNoSuchFile, .fileReadNoSuchFile: "no such file or folder"
  case .fileReadNoPermission, .fileWriteNoPermission: "permission denied"
  case .fileWriteOutOfSpace: "no space left on the device"
  case .fileWriteVolumeReadOnly: "the file system is read-only"
  default: error.localizedDescription
  }
}
