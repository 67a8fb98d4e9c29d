// The few operations on folders that checkpoints need, with errors that name the path and the reason.

import Foundation
import KilnKernels

/// Operations on folders; errors name the path and the reason.
public enum Folder {
  /// Makes a folder and those above it that are missing.
  public static func create(_ url: URL) throws(KilnError) {
    guard mkdir(url.path, 0o755) != 0 else { return }
    let code = errno
    var status = stat()
    if code == EEXIST, stat(url.path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR { return }
    let parent = url.deletingLastPathComponent()
    guard code == ENOENT, parent.path != url.path else { throw .system("create folder", url, code: code) }
    try create(parent)
    guard mkdir(url.path, 0o755) == 0 else { throw .system("create folder", url) }
  }

  /// The names in a folder, sorted; none if the folder does not exist.
  static func names(in url: URL) throws(KilnError) -> [String] {
    guard let folder = opendir(url.path) else {
      if errno == ENOENT { return [] }
      throw .system("list", url)
    }
    defer { closedir(folder) }
    var names: [String] = []
    while let entry = readdir(folder) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  public static func rename(_ old: URL, to new: URL) throws(KilnError) {
    guard Foundation.rename(old.path, new.path) == 0 else { throw .system("rename '\(old.path)' to", new) }
  }

  /// Removes a file or a folder with all that is in it.
  static func remove(_ url: URL) throws(KilnError) {
    do {
      try FileManager.default.removeItem(at: url)
    } catch {
      throw KilnError(.file, "cannot remove '\(url.path)': \(error.localizedDescription)")
    }
  }

  /// Brings a file's content, or a folder's list of names, to the disk.
  static func synchronize(_ url: URL) throws(KilnError) {
    let descriptor = open(url.path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .system("open", url) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw .system("flush", url) }
  }

  /// The size of a regular file that stands at `url` itself, not behind a link.
  static func fileSize(_ url: URL) throws(KilnError) -> Int {
    var status = stat()
    guard lstat(url.path, &status) == 0 else { throw .system("inspect", url) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw KilnError(.file, "'\(url.path)' is not a regular file") }
    return Int(status.st_size)
  }
}
