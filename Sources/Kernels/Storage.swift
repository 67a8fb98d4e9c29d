#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A run of bytes that tensors are views of: memory of its own, or memory that somebody else keeps alive.
///
/// Two threads may read the same bytes; whoever writes must be alone, which the owner of a session ensures.
public final class Storage: @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  public let byteCount: Int
  private let owner: AnyObject?

  /// Pages of zeros, which take memory only when they are first touched. Large ones ask for huge pages.
  public init(byteCount: Int) throws(KilnError) {
    let length = max(byteCount, 1)
    guard let base = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), base != MAP_FAILED
    else {
      throw KilnError(
        .memory, "\(byteCount) bytes of memory could not be had", hint: "use a smaller model, batch or context")
    }
    #if os(Linux)
      if length >= 2 << 20 { madvise(base, length, MADV_HUGEPAGE) }
    #endif
    self.base = base
    self.byteCount = byteCount
    owner = nil
  }

  /// Bytes that `owner` keeps alive, such as a mapped file; only to be read.
  public init(borrowing bytes: UnsafeRawBufferPointer, owner: AnyObject) {
    base = UnsafeMutableRawPointer(mutating: bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 64)!)
    byteCount = bytes.count
    self.owner = owner
  }

  deinit {
    if owner == nil { munmap(base, max(byteCount, 1)) }
  }
}

extension Storage {
  /// A part of another storage, which it keeps alive.
  public convenience init(part range: Range<Int>, of whole: Storage) {
    precondition(range.lowerBound >= 0 && range.upperBound <= whole.byteCount)
    self.init(borrowing: UnsafeRawBufferPointer(start: whole.base + range.lowerBound, count: range.count), owner: whole)
  }
}
