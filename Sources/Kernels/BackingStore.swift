import Dispatch
import Foundation

/// Memory behind a device, that is read and written beside computation: a file without a name, gone with the process, or
/// memory of the host. A file goes by direct I/O where its file system has it, so that it takes no page cache.
public final class BackingStore: @unchecked Sendable {
  public enum Place: Sendable, Hashable {
    case disk(URL)
    case host
  }

  /// Of both ends of a transfer, in the store and in memory.
  public static let alignment = 4096

  private static let bufferSize = 1 << 20

  /// Bytes as a transfer takes them.
  public static func aligned(_ bytes: Int) -> Int { (bytes + alignment - 1) / alignment * alignment }

  public let place: Place
  public let byteCount: Int
  /// Whether transfers pass the page cache by.
  public let isDirect: Bool
  private let backing: Backing
  private let reads = DispatchQueue(label: "kiln.store.read")
  private let writes = DispatchQueue(label: "kiln.store.write")
  /// What a device's bytes pass through, each for one queue.
  private let readBuffer, writeBuffer: Storage

  private enum Backing {
    case file(Int32)
    case memory(Storage)
  }

  /// Reserves the bytes, all zeros.
  public init(in place: Place, byteCount: Int) throws(KilnError) {
    self.place = place
    self.byteCount = byteCount
    readBuffer = try Storage(byteCount: Self.bufferSize)
    writeBuffer = try Storage(byteCount: Self.bufferSize)
    switch place {
    case .host:
      backing = .memory(try Storage(byteCount: byteCount))
      isDirect = false
    case .disk(let folder):
      let (descriptor, isDirect) = try Self.open(in: folder, byteCount)
      backing = .file(descriptor)
      self.isDirect = isDirect
    }
  }

  deinit {
    if case .file(let descriptor) = backing { close(descriptor) }
  }

  private static func open(
    in folder: URL, _ byteCount: Int
  ) throws(KilnError) -> (descriptor: Int32, isDirect: Bool) {
    let path = folder.appendingPathComponent(".kiln-store-\(UUID().uuidString)").path
    let flags = O_RDWR | O_CREAT | O_CLOEXEC
    let direct = directFlag.map { Foundation.open(path, flags | $0, 0o600) } ?? -1
    let descriptor = direct >= 0 ? direct : Foundation.open(path, flags, 0o600)
    guard descriptor >= 0 else { throw failure("use the folder", folder, errno) }
    unlink(path)
    #if os(Linux)
      let status = byteCount > 0 ? posix_fallocate(descriptor, 0, off_t(byteCount)) : 0
    #else
      let status = ftruncate(descriptor, off_t(byteCount)) == 0 ? 0 : errno
    #endif
    guard status == 0 else {
      close(descriptor)
      throw failure("reserve \(byteCount >> 20) MiB in", folder, status)
    }
    return (descriptor, direct >= 0)
  }

  /// O_DIRECT, which is not among what Swift imports of the C library.
  private static var directFlag: Int32? {
    #if os(Linux) && arch(x86_64)
      0o40000
    #elseif os(Linux) && arch(arm64)
      0o200000
    #else
      nil
    #endif
  }

  /// Begins to read; reads go on one after another.
  /// - Parameters:
  ///   - range: of the store; its ends are aligned.
  ///   - storage: at least as long; nobody else uses it until the transfer is over.
  public func read(_ range: Range<Int>, into storage: Storage) -> Background {
    check(range, storage)
    return begin(on: reads, storage) { (end) throws(KilnError) in
      try end.receive(range.count, through: self.readBuffer) { (bytes, part) throws(KilnError) in
        let start = range.lowerBound + part.lowerBound
        switch self.backing {
        case .memory(let memory): bytes.copyMemory(from: memory.base + start, byteCount: part.count)
        case .file(let file): try self.all(part.count, at: start, "read") { pread(file, bytes + $0, $1, $2) }
        }
      }
    }
  }

  /// Begins to write; writes go on one after another.
  public func write(_ range: Range<Int>, from storage: Storage) -> Background {
    check(range, storage)
    return begin(on: writes, storage) { (end) throws(KilnError) in
      try end.send(range.count, through: self.writeBuffer) { (bytes, part) throws(KilnError) in
        let start = range.lowerBound + part.lowerBound
        switch self.backing {
        case .memory(let memory): (memory.base + start).copyMemory(from: bytes, byteCount: part.count)
        case .file(let file): try self.all(part.count, at: start, "write") { pwrite(file, bytes + $0, $1, $2) }
        }
      }
    }
  }

  private func begin(
    on queue: DispatchQueue, _ storage: Storage, _ body: @escaping @Sendable (TransferEnd) throws(KilnError) -> Void
  ) -> Background {
    do throws(KilnError) {
      let end = try TransferEnd(storage)
      return Background(on: queue) { () throws(KilnError) in try body(end) }
    } catch {
      return Background(on: queue) { () throws(KilnError) in throw error }
    }
  }

  private func check(_ range: Range<Int>, _ storage: Storage) {
    precondition(range.lowerBound % Self.alignment == 0 && range.count % Self.alignment == 0)
    precondition(range.count <= storage.byteCount && range.upperBound <= byteCount)
  }

  /// Repeats a call, which takes bytes done, bytes to do and a place in the file, until everything is done.
  private func all(
    _ byteCount: Int, at start: Int, _ action: String, _ call: (Int, Int, off_t) -> Int
  ) throws(KilnError) {
    guard case .disk(let folder) = place else { return }
    var done = 0
    while done < byteCount {
      let count = call(done, byteCount - done, off_t(start + done))
      if count < 0, errno == EINTR { continue }
      guard count > 0 else {
        throw Self.failure("\(action) what is offloaded to", folder, count == 0 ? EIO : errno)
      }
      done += count
    }
  }

  private static func failure(_ action: String, _ folder: URL, _ code: Int32) -> KilnError {
    KilnError(
      .file, "cannot \(action) '\(folder.path)': \(String(cString: strerror(code)))",
      hint: code == ENOSPC ? "free some space there, or choose another --disk" : nil)
  }
}

extension BackingStore {
  /// Bytes a second that a folder's disk reads and writes in all, both at once as in a step; nil where it cannot be used.
  public static func rate(of folder: URL) -> Double? {
    let size = 32 << 20
    do {
      let store = try BackingStore(in: .disk(folder), byteCount: 2 * size)
      let (source, target) = (try Storage(byteCount: size), try Storage(byteCount: size))
      // What was never written would not be read from the disk.
      try store.write(0..<size, from: source).wait()
      let start = ContinuousClock.now
      let transfers = [store.read(0..<size, into: target), store.write(size..<2 * size, from: source)]
      for transfer in transfers { try transfer.wait() }
      return Double(2 * size) / ((ContinuousClock.now - start) / .seconds(1))
    } catch { return nil }
  }
}
