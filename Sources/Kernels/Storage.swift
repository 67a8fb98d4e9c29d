import CKernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A run of bytes that tensors are views of: memory of its own, memory that somebody else keeps alive, or memory of an
/// OpenCL device, whose bytes only its kernels touch.
///
/// Two threads may read the same bytes; whoever writes must be alone, which the owner of a session ensures.
public final class Storage: @unchecked Sendable {
  let base: UnsafeMutableRawPointer
  public let byteCount: Int
  private let owner: AnyObject?
  /// The context of the device that has it; nil for the host's memory.
  let device: Context?

  /// Memory where the kernels of a context work. The host's are pages of zeros, which take memory only when they are
  /// first touched, and ask for huge pages where they are many; on a device the content is anything.
  /// - Parameter context: nil for the host's memory.
  public init(byteCount: Int, on context: Context? = nil) throws(KilnError) {
    self.byteCount = byteCount
    owner = nil
    if let context, context.hasOwnMemory {
      var address: UnsafeMutableRawPointer?
      try context.check(kiln_device_alloc(context.handle, max(byteCount, 1), &address))
      guard let address else { throw KilnError(.memory, "the device gave no memory") }
      (base, device) = (address, context)
      return
    }
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
    device = nil
  }

  /// Bytes that `owner` keeps alive, such as a mapped file; only to be read.
  public init(borrowing bytes: UnsafeRawBufferPointer, owner: AnyObject) {
    base = UnsafeMutableRawPointer(mutating: bytes.baseAddress ?? UnsafeRawPointer(bitPattern: 64)!)
    byteCount = bytes.count
    self.owner = owner
    device = nil
  }

  private init(_ base: UnsafeMutableRawPointer, _ byteCount: Int, owner: AnyObject, device: Context?) {
    (self.base, self.byteCount, self.owner, self.device) = (base, byteCount, owner, device)
  }

  deinit {
    guard owner == nil else { return }
    if let device { kiln_device_free(device.handle, base) } else { munmap(base, max(byteCount, 1)) }
  }
}

extension Storage {
  /// A part of another storage, which it keeps alive.
  public convenience init(part range: Range<Int>, of whole: Storage) {
    precondition(range.lowerBound >= 0 && range.upperBound <= whole.byteCount)
    self.init(whole.base + range.lowerBound, range.count, owner: whole, device: whole.device)
  }
}
