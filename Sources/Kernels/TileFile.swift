import Dispatch
import Foundation

/// Memory on disk: a file without a name, in aligned tiles, that is read and written beside computation. It goes by direct
/// I/O where the file system has it, so that it takes no page cache, and is gone with the process.
public final class TileFile: @unchecked Sendable {
  public static let alignment = 4096

  public let folder: URL
  public let byteCount: Int
  /// Whether transfers pass the page cache by.
  public let isDirect: Bool
  private let descriptor: Int32
  private let reads = DispatchQueue(label: "kiln.tiles.read")
  private let writes = DispatchQueue(label: "kiln.tiles.write")

  /// Reserves the bytes, all zeros.
  public init(in folder: URL, byteCount: Int) throws(KilnError) {
    self.folder = folder
    self.byteCount = byteCount
    let path = folder.appendingPathComponent(".kiln-tiles-\(UUID().uuidString)").path
    let flags = O_RDWR | O_CREAT | O_CLOEXEC
    let direct = Self.directFlag.map { open(path, flags | $0, 0o600) } ?? -1
    descriptor = direct >= 0 ? direct : open(path, flags, 0o600)
    isDirect = direct >= 0
    guard descriptor >= 0 else { throw Self.failure("use the folder", folder, errno) }
    unlink(path)
    #if os(Linux)
      let status = byteCount > 0 ? posix_fallocate(descriptor, 0, off_t(byteCount)) : 0
    #else
      let status = ftruncate(descriptor, off_t(byteCount)) == 0 ? 0 : errno
    #endif
    guard status == 0 else {
      close(descriptor)
      throw Self.failure("reserve \(byteCount >> 20) MiB in", folder, status)
    }
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

  deinit { close(descriptor) }

  /// A read or a write that goes on.
  public final class Transfer: @unchecked Sendable {
    private let done = DispatchSemaphore(value: 0)
    private var error: KilnError?
    private var isOver = false

    fileprivate func finish(_ error: KilnError?) {
      self.error = error
      done.signal()
    }

    /// Returns when it is over. For one thread.
    public func wait() throws(KilnError) {
      if !isOver { done.wait() }
      isOver = true
      if let error { throw error }
    }
  }

  /// - Parameters:
  ///   - range: of the file; its ends are aligned.
  ///   - storage: at least as long; nobody else uses it until the transfer is over.
  public func read(_ range: Range<Int>, into storage: Storage) -> Transfer {
    transfer(range, storage, on: reads, "read") { pread($0, $1, $2, $3) }
  }

  public func write(_ range: Range<Int>, from storage: Storage) -> Transfer {
    transfer(range, storage, on: writes, "write") { pwrite($0, $1, $2, $3) }
  }

  private func transfer(
    _ range: Range<Int>, _ storage: Storage, on queue: DispatchQueue, _ action: String,
    by call: @escaping @Sendable (Int32, UnsafeMutableRawPointer, Int, off_t) -> Int
  ) -> Transfer {
    precondition(range.lowerBound % Self.alignment == 0 && range.count % Self.alignment == 0)
    precondition(range.count <= storage.byteCount && range.upperBound <= byteCount)
    let transfer = Transfer()
    queue.async {
      var done = 0
      while done < range.count {
        let count = call(self.descriptor, storage.base + done, range.count - done, off_t(range.lowerBound + done))
        if count < 0, errno == EINTR { continue }
        guard count > 0 else {
          return transfer.finish(Self.failure("\(action) the run's tiles in", self.folder, count == 0 ? EIO : errno))
        }
        done += count
      }
      transfer.finish(nil)
    }
    return transfer
  }

  private static func failure(_ action: String, _ folder: URL, _ code: Int32) -> KilnError {
    KilnError(
      .file, "cannot \(action) '\(folder.path)': \(String(cString: strerror(code)))",
      hint: code == ENOSPC ? "free some space there, or choose another --disk" : nil)
  }
}
