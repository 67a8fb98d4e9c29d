// A file seen as memory.

import Foundation
import KilnKernels

/// A regular file mapped read-only; its pages are read when they are touched, and given back with the object.
///
/// The file must not be truncated while it is mapped: replace files by renaming, as `AtomicFile` does.
public final class MappedFile: @unchecked Sendable {
  public let url: URL
  /// The file's size in bytes.
  public let count: Int
  private let bytes: UnsafeRawBufferPointer

  /// Maps the file. An empty file is an empty mapping; a folder or a device is an error.
  public init(_ url: URL) throws(KilnError) {
    let descriptor = open(url.path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("open", url) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .system("inspect", url) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw KilnError(.file, "'\(url.path)' is not a regular file") }
    self.url = url
    count = Int(status.st_size)
    if count == 0 {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
    } else {
      let address = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0)
      guard let address, address != MAP_FAILED else { throw .system("map", url) }
      bytes = UnsafeRawBufferPointer(start: address, count: count)
    }
  }

  deinit {
    if let address = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: address), count) }
  }

  /// Lends `body` a range of the file's bytes, at whatever alignment they have in the file.
  ///
  /// The caller keeps `range` within `0..<count`.
  public func withBytes<Result, Failure: Error>(
    in range: Range<Int>, _ body: (RawSpan) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    try body(UnsafeRawBufferPointer(rebasing: bytes[range]).bytes)
  }

  /// Gives the memory of a range back; who reads there again reads the file again.
  func release(_ range: Range<Int>) {
    guard let address = bytes.baseAddress else { return }
    let page = Int(getpagesize())
    let start = (range.lowerBound + page - 1) / page * page
    let end = range.upperBound / page * page
    if start < end { madvise(UnsafeMutableRawPointer(mutating: address + start), end - start, MADV_DONTNEED) }
  }

  /// A copy of a range of the file's bytes.
  func copyBytes(in range: Range<Int>) -> [UInt8] { Array(bytes[range]) }
}
