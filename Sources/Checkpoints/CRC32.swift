// CRC-32 with zlib's polynomial, eight bytes at a time.

/// The checksum of a stream of bytes as zlib, PNG and gzip define it: reflected polynomial 0xEDB88320, initial value
/// and final exclusive or of all ones.
struct CRC32 {
  /// `tables[256 * k + b]`: what byte `b` contributes when `k` more bytes follow it.
  private static let tables: [UInt32] = {
    var tables = (0..<256).map { byte in
      (0..<8).reduce(UInt32(byte)) { crc, _ in crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
    }
    for index in 256..<8 * 256 {
      let previous = tables[index - 256]
      tables.append(previous >> 8 ^ tables[Int(previous & 0xFF)])
    }
    return tables
  }()

  private var state: UInt32 = .max

  var value: UInt32 { ~state }

  mutating func update(_ bytes: RawSpan) {
    Self.tables.withUnsafeBufferPointer { tables in
      bytes.withUnsafeBytes { bytes in state = Self.advance(state, over: bytes, tables) }
    }
  }

  private static func advance(
    _ state: UInt32, over bytes: UnsafeRawBufferPointer, _ tables: UnsafeBufferPointer<UInt32>
  ) -> UInt32 {
    func entry(_ table: Int, _ word: UInt32, _ shift: UInt32) -> UInt32 {
      tables[256 &* table &+ Int(truncatingIfNeeded: word &>> shift & 0xFF)]
    }
    var crc = state
    var offset = 0
    while offset &+ 8 <= bytes.count {
      let low = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) ^ crc
      let high = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset &+ 4, as: UInt32.self))
      crc = (entry(7, low, 0) ^ entry(6, low, 8)) ^ (entry(5, low, 16) ^ entry(4, low, 24))
      crc ^= (entry(3, high, 0) ^ entry(2, high, 8)) ^ (entry(1, high, 16) ^ entry(0, high, 24))
      offset &+= 8
    }
    for byte in bytes[offset...] { crc = crc >> 8 ^ entry(0, crc ^ UInt32(byte), 0) }
    return crc
  }
}
