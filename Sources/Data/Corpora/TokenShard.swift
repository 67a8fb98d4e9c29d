// Token shards as llm.c writes them.

import Foundation
import KilnKernels

/// A header of 256 little-endian `int32`: magic, version, count; then the tokens.
enum TokenShard {
  private static let headerSize = 1024

  /// The two layouts: GPT-2's 2-byte tokens and Llama 3's 4-byte tokens.
  private static let layouts: [(magic: UInt32, version: UInt32, width: Int)] = [
    (20_240_520, 1, 2), (20_240_801, 7, 4),
  ]

  /// The tokens of a shard, mapped; nil if the file is none. Neither magic number can begin UTF-8 text.
  /// - Throws: `format` if it is a damaged shard, `data` if it holds no tokens.
  static func open(_ file: InputFile) throws(KilnError) -> TokenStore? {
    let header = try file.prefix(12)
    guard let magic = word(0, of: header), let layout = layouts.first(where: { $0.magic == magic }) else { return nil }
    guard let version = word(1, of: header), let count = word(2, of: header), file.size >= headerSize else {
      throw KilnError(.format, "\(file.url.path): the token shard ends within its header")
    }
    guard version == layout.version else {
      throw KilnError(
        .format, "\(file.url.path): token shard version \(version) is unknown", hint: "Expected \(layout.version).")
    }
    let expected = headerSize + layout.width * Int(count)
    guard file.size == expected else {
      throw KilnError(
        .format, "\(file.url.path): a token shard of \(count) tokens has \(expected) bytes, this one has \(file.size)")
    }
    guard count > 0 else { throw KilnError(.data, "\(file.url.path) holds no tokens") }
    let data = try file.mapped()
    guard data.count == expected else { throw KilnError(.file, "\(file.url.path) changed while it was read") }
    return TokenStore(mapped: data, offset: headerSize, width: layout.width, count: Int(count))
  }

  private static func word(_ index: Int, of bytes: [UInt8]) -> UInt32? {
    guard bytes.count >= index * 4 + 4 else { return nil }
    return bytes[index * 4..<index * 4 + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) }
  }
}
