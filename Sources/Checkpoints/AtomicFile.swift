// Writing files so that a reader, a crash or a full disk never meets half of one.

import Foundation
import KilnKernels

/// A file that is written under a temporary name beside its own, and takes its own name only when it is complete and
/// on the disk. What is not committed is removed.
public final class AtomicFile {
  public let url: URL
  /// Bytes written so far.
  public private(set) var count = 0
  private let temporary: URL
  private var descriptor: Int32

  /// Opens `.NAME.partial` beside `url`; its folder must exist.
  public init(_ url: URL) throws(KilnError) {
    self.url = url
    temporary = url.deletingLastPathComponent().appendingPathComponent(".\(url.lastPathComponent).partial")
    descriptor = open(temporary.path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw .system("create", url) }
  }

  deinit {
    guard descriptor >= 0 else { return }
    close(descriptor)
    unlink(temporary.path)
  }

  /// Appends bytes, all of them or an error.
  public func write(_ bytes: RawSpan) throws(KilnError) {
    let failure = bytes.withUnsafeBytes { buffer -> Int32? in
      var rest = buffer[...]
      while !rest.isEmpty {
        let written = systemWrite(descriptor, UnsafeRawBufferPointer(rebasing: rest))
        if written < 0 && errno == EINTR { continue }
        guard written > 0 else { return written < 0 ? errno : EIO }
        rest = rest.dropFirst(written)
        count += written
      }
      return nil
    }
    if let failure {
      throw .system("write \(bytes.byteCount) bytes at offset \(count) of", url, code: failure)
    }
  }

  /// Brings the file to the disk and gives it its name, in place of an older file of that name.
  public func commit() throws(KilnError) {
    guard fsync(descriptor) == 0 else { throw .system("flush", url) }
    let closing = descriptor
    descriptor = -1
    guard close(closing) == 0 else {
      let code = errno
      unlink(temporary.path)
      throw .system("close", url, code: code)
    }
    do {
      try Folder.rename(temporary, to: url)
    } catch {
      unlink(temporary.path)
      throw error
    }
    try Folder.synchronize(url.deletingLastPathComponent())
  }

  /// Writes a whole small file.
  public static func write(_ data: Data, to url: URL) throws(KilnError) {
    let file = try AtomicFile(url)
    try file.write(data.bytes)
    try file.commit()
  }
}

/// `write(2)`, which the method of the same name hides.
private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
  write(descriptor, bytes.baseAddress, bytes.count)
}
