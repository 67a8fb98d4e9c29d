// The folder of a run's checkpoints, and the protocol by which they come and go.

import Foundation
import KilnKernels

/// A checkpoint whose manifest is complete and whose files have the sizes it states.
public struct Checkpoint: Sendable {
  public let folder: URL
  public let manifest: Manifest
  public var step: Int { manifest.step }

  init(_ folder: URL) throws(KilnError) {
    self.folder = folder
    manifest = try Manifest(readingFrom: folder)
    guard CheckpointDirectory.step(ofName: folder.lastPathComponent) == manifest.step else {
      throw KilnError(.data, "'\(folder.path)' holds a checkpoint of step \(manifest.step)")
    }
    try manifest.checkSizes(in: folder)
  }

  /// Reads all files and compares their checksums.
  public func verify() throws(KilnError) { try manifest.checkChecksums(in: folder) }
}

/// A folder of checkpoints `step-00000100/`, and a file `latest` that holds the name of the newest.
///
/// A checkpoint is made under a temporary name, its files and then its manifest are brought to the disk, and only then
/// is it renamed: whenever the process is killed, what stands under `step-…` is complete. One process writes at a
/// time.
public struct CheckpointDirectory: Sendable {
  static let latestName = "latest"
  private static let prefix = "step-"

  public let folder: URL
  /// How many checkpoints stay.
  public let keep: Int
  /// The version that manifests state.
  public let kilnVersion: String

  public init(_ folder: URL, keep: Int, kilnVersion: String) throws(KilnError) {
    guard keep > 0 else {
      throw KilnError(.argument, "the number of checkpoints to keep must be positive, not \(keep)")
    }
    self.folder = folder
    self.keep = keep
    self.kilnVersion = kilnVersion
  }

  /// Writes the checkpoint of a step: `files` fills the empty folder that it is given (files only, no folders).
  ///
  /// On an error the older checkpoints are untouched and nothing of the new one is left. On success, the older ones
  /// beyond `keep` are removed, and those of later steps too, which belong to a course that was given up.
  @discardableResult
  public func write(step: Int, files: (URL) throws(KilnError) -> Void) throws(KilnError) -> Checkpoint {
    guard step >= 0 else { throw KilnError(.argument, "the step of a checkpoint must not be negative, but is \(step)") }
    try Folder.create(folder)
    try removeLeftovers()
    let name = Self.name(ofStep: step)
    let temporary = folder.appendingPathComponent(".\(name).partial")
    do {
      try Folder.create(temporary)
      try files(temporary)
      try Manifest(of: temporary, step: step, kilnVersion: kilnVersion).write(to: temporary)
      try Folder.synchronize(temporary)
      try install(temporary, as: name)
    } catch {
      try? Folder.remove(temporary)
      throw error
    }
    try AtomicFile.write(Data(name.utf8), to: folder.appendingPathComponent(Self.latestName))
    try prune(after: step)
    return try Checkpoint(folder.appendingPathComponent(name))
  }

  /// The newest checkpoint whose checksums hold, with a warning for each newer one that is damaged; nil where there is
  /// no checkpoint, an error where all are damaged.
  public func latest() throws(KilnError) -> (checkpoint: Checkpoint, warnings: [String])? {
    var faults: [KilnError] = []
    for step in try steps().reversed() {
      do {
        let checkpoint = try Checkpoint(url(ofStep: step))
        try checkpoint.verify()
        return (checkpoint, faults.map { "passing over a damaged checkpoint: \($0.message)" })
      } catch {
        faults.append(error)
      }
    }
    guard let newest = faults.first else { return nil }
    throw newest.about("no checkpoint in '\(folder.path)' is intact")
  }

  /// The steps of all checkpoints, intact or not, ascending.
  public func steps() throws(KilnError) -> [Int] {
    try Folder.names(in: folder).compactMap(Self.step(ofName:)).sorted()
  }

  static func name(ofStep step: Int) -> String {
    let digits = String(step)
    return prefix + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
  }

  /// The step, if `name` is that of a checkpoint.
  static func step(ofName name: String) -> Int? {
    guard name.hasPrefix(prefix), let step = Int(name.dropFirst(prefix.count)), step >= 0,
      Self.name(ofStep: step) == name
    else { return nil }
    return step
  }

  private func url(ofStep step: Int) -> URL { folder.appendingPathComponent(Self.name(ofStep: step)) }

  /// Renames the finished folder. An older one of the same name is moved away first, since no rename replaces it.
  private func install(_ temporary: URL, as name: String) throws(KilnError) {
    let final = folder.appendingPathComponent(name)
    let replaced = folder.appendingPathComponent(".\(name).replaced")
    let exists = FileManager.default.fileExists(atPath: final.path)
    if exists { try Folder.rename(final, to: replaced) }
    do {
      try Folder.rename(temporary, to: final)
    } catch {
      if exists { try Folder.rename(replaced, to: final) }
      throw error
    }
    try Folder.synchronize(folder)
    if exists { try Folder.remove(replaced) }
  }

  /// Removes what a killed run left under temporary names.
  private func removeLeftovers() throws(KilnError) {
    for name in try Folder.names(in: folder) where name.hasPrefix(".\(Self.prefix)") {
      try Folder.remove(folder.appendingPathComponent(name))
    }
  }

  private func prune(after newest: Int) throws(KilnError) {
    var kept = 0
    for step in try steps().reversed() {
      let url = url(ofStep: step)
      if step <= newest, kept < keep, (try? Checkpoint(url)) != nil {
        kept += 1
      } else {
        try Folder.remove(url)
      }
    }
  }
}
