import CKernels
import Dispatch

/// The end of a transfer that lies in a storage: memory of the host, or of a device, whose bytes pass through a buffer of
/// the host beside the kernels.
struct TransferEnd: @unchecked Sendable {
  private let storage: Storage
  private let transfer: DeviceTransfer?

  /// The storage as it is when all that has been asked for is done; to be called where its context is used.
  init(_ storage: Storage) throws(KilnError) {
    self.storage = storage
    transfer = try storage.device.map { (context) throws(KilnError) in try DeviceTransfer(storage, on: context) }
  }

  /// Takes bytes from `source`, which fills memory with a range of them.
  func receive(
    _ count: Int, through buffer: Storage,
    from source: (UnsafeMutableRawPointer, Range<Int>) throws(KilnError) -> Void
  ) throws(KilnError) {
    guard let transfer else { return try source(storage.base, 0..<count) }
    for piece in Self.pieces(of: count, buffer) {
      try source(buffer.base, piece)
      try transfer.write(piece, from: buffer.base)
    }
  }

  /// Gives bytes to `sink`, a range of them at a time.
  func send(
    _ count: Int, through buffer: Storage, to sink: (UnsafeMutableRawPointer, Range<Int>) throws(KilnError) -> Void
  ) throws(KilnError) {
    guard let transfer else { return try sink(storage.base, 0..<count) }
    for piece in Self.pieces(of: count, buffer) {
      try transfer.read(piece, into: buffer.base)
      try sink(buffer.base, piece)
    }
  }

  /// Gives all bytes at once.
  func send(_ count: Int, to bytes: UnsafeMutableRawPointer) throws(KilnError) {
    guard let transfer else { return bytes.copyMemory(from: storage.base, byteCount: count) }
    try transfer.read(0..<count, into: bytes)
  }

  private static func pieces(of count: Int, _ buffer: Storage) -> some Sequence<Range<Int>> {
    stride(from: 0, to: count, by: buffer.byteCount).lazy.map { $0..<min($0 + buffer.byteCount, count) }
  }
}

extension Tensor {
  /// Begins to copy a dense tensor to one like it in the host's memory, beside what its context does from now on.
  /// - Parameter queue: whose thread waits for the bytes. Until then nobody writes either tensor.
  public func read(into target: Tensor, on queue: DispatchQueue) throws(KilnError) -> Background {
    precondition(isDense && target.isDense && shape == target.shape && dtype == target.dtype)
    guard let storage, let destination = target.storage, destination.device == nil else {
      preconditionFailure("a tensor is read that has no data, or to no memory of the host")
    }
    let count = shape.count * dtype.size
    let end = try TransferEnd(Storage(part: byteOffset..<byteOffset + count, of: storage))
    let part = Storage(part: target.byteOffset..<target.byteOffset + count, of: destination)
    return Background(on: queue) { () throws(KilnError) in try end.send(count, to: part.base) }
  }
}

/// The way between a device's memory and the host's, for one thread beside the one that uses the context.
private final class DeviceTransfer: @unchecked Sendable {
  private let handle: OpaquePointer
  private let context: Context

  init(_ storage: Storage, on context: Context) throws(KilnError) {
    var handle: OpaquePointer?
    try context.check(kiln_transfer_begin(context.handle, storage.base, storage.byteCount, &handle))
    guard let handle else { throw KilnError(.memory, "a transfer could not be had") }
    (self.handle, self.context) = (handle, context)
  }

  deinit { kiln_transfer_end(handle) }

  func read(_ range: Range<Int>, into bytes: UnsafeMutableRawPointer) throws(KilnError) {
    try check(kiln_transfer_read(handle, range.lowerBound, bytes, range.count), range.count)
  }

  func write(_ range: Range<Int>, from bytes: UnsafeRawPointer) throws(KilnError) {
    try check(kiln_transfer_write(handle, range.lowerBound, bytes, range.count), range.count)
  }

  private func check(_ status: kiln_status, _ count: Int) throws(KilnError) {
    guard status != KILN_OK else { return }
    throw KilnError(
      status == KILN_ERR_MEMORY ? .memory : .argument,
      "\(count) bytes on their way to or from \(context.device) were lost: \(String(cString: kiln_status_name(status)))"
    )
  }
}
