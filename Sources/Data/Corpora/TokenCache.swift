// Tokenised text, kept on disk so that the next run maps it instead of encoding again.

import Foundation
import KilnKernels

/// A folder of token files, named by what they hold. Losing it, or any file in it, costs only time: a file that is not
/// whole is written anew, and where nothing can be written everything works without.
///
/// A file: 64 bytes of header (magic of 8 bytes, `u32` width of a token, `u32` 0, `u64` count, `u64` bytes of the text,
/// the key's 32 characters), then the tokens; all little-endian.
struct TokenCache: Sendable {
  let directory: URL

  /// `$KILN_CACHE`, else `$XDG_CACHE_HOME/kiln`, else `~/.cache/kiln`.
  static func standardDirectory(environment: [String: String]) -> URL? {
    func folder(_ name: String) -> URL? {
      environment[name].flatMap { $0.isEmpty ? nil : URL(fileURLWithPath: $0, isDirectory: true) }
    }
    return folder("KILN_CACHE") ?? folder("XDG_CACHE_HOME")?.appendingPathComponent("kiln")
      ?? folder("HOME")?.appendingPathComponent(".cache/kiln")
  }

  /// What a cached file must hold: this text, encoded by this tokenizer.
  struct Entry: Sendable {
    let key: String
    let byteCount: Int
    let width: Int

    init(contentHash: String, byteCount: Int, tokenizer: any Tokenizer) {
      var hash = ContentHash()
      hash.update(Array("\(contentHash) \(byteCount) \(tokenizer.fingerprint)".utf8))
      key = hash.value
      self.byteCount = byteCount
      width = tokenizer.vocabularySize <= 1 << 16 ? 2 : 4
    }

    fileprivate static let headerSize = 64

    fileprivate func header(count: Int) -> [UInt8] {
      Array("KILNTOK1".utf8) + bytes(of: UInt32(width)) + bytes(of: UInt32(0)) + bytes(of: UInt64(count))
        + bytes(of: UInt64(byteCount)) + Array(key.utf8)
    }
  }

  private func file(of entry: Entry) -> URL { directory.appendingPathComponent(entry.key + ".tokens") }

  /// The tokens, mapped; nil if they are not there or not whole.
  func open(_ entry: Entry) -> TokenStore? {
    guard let data = try? Data(contentsOf: file(of: entry), options: .alwaysMapped) else { return nil }
    let count = (data.count - Entry.headerSize) / entry.width
    guard count > 0, data.count == Entry.headerSize + count * entry.width,
      Array(data.prefix(Entry.headerSize)) == entry.header(count: count)
    else { return nil }
    return TokenStore(mapped: data, offset: Entry.headerSize, width: entry.width, count: count)
  }

  /// Writes what `produce` appends, and maps it. Nil if the folder cannot be written to; `produce` may then have been
  /// told so midway, by false.
  func write(
    _ entry: Entry, _ produce: (_ append: ([Int32]) -> Bool) throws(KilnError) -> Void
  ) throws(KilnError) -> TokenStore? {
    let temporary = directory.appendingPathComponent("\(entry.key).\(UUID().uuidString).part")
    try? FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
    guard FileManager.default.createFile(atPath: temporary.path, contents: Data(entry.header(count: 0))),
      let handle = try? FileHandle(forUpdating: temporary)
    else { return nil }
    defer { try? FileManager.default.removeItem(at: temporary) }
    var count = 0
    var isWritten = (try? handle.seekToEnd()) != nil
    try produce { tokens in
      count += tokens.count
      isWritten = isWritten && (try? handle.write(contentsOf: packed(tokens, width: entry.width))) != nil
      return isWritten
    }
    guard isWritten else { return nil }
    do {
      try handle.seek(toOffset: 0)
      try handle.write(contentsOf: entry.header(count: count))
      try handle.synchronize()
      try handle.close()
    } catch { return nil }
    guard rename(temporary.path, file(of: entry).path) == 0 else { return nil }
    return open(entry)
  }

  private func packed(_ tokens: [Int32], width: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(tokens.count * width)
    for token in tokens {
      for shift in 0..<width { bytes.append(UInt8(truncatingIfNeeded: token >> (8 * Int32(shift)))) }
    }
    return bytes
  }
}

private func bytes(of value: some FixedWidthInteger) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { Array($0) }
}
