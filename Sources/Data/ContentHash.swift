// A fast 128-bit hash of content, for cache keys. Not cryptographic.

/// Hashes bytes that come in parts; how they are cut makes no difference.
struct ContentHash: Sendable {
  private var low: UInt64 = 0x9E37_79B9_7F4A_7C15
  private var high: UInt64 = 0xD1B5_4A32_D192_ED03
  private var pending: UInt64 = 0
  private var count: UInt64 = 0

  mutating func update(_ bytes: [UInt8]) {
    var index = 0
    while index < bytes.count, count & 7 != 0 { take(bytes[index], &index) }
    let whole = index + (bytes.count - index) & ~7
    bytes.withUnsafeBytes { raw in
      while index < whole {
        mix(UInt64(littleEndian: raw.loadUnaligned(fromByteOffset: index, as: UInt64.self)))
        index += 8
        count += 8
      }
    }
    while index < bytes.count { take(bytes[index], &index) }
  }

  /// 32 hexadecimal digits.
  var value: String {
    var final = self
    final.mix(pending)
    final.mix(count)
    return Self.hex(final.low) + Self.hex(final.high)
  }

  private mutating func take(_ byte: UInt8, _ index: inout Int) {
    pending |= UInt64(byte) << (count & 7 * 8)
    count += 1
    index += 1
    if count & 7 == 0 {
      mix(pending)
      pending = 0
    }
  }

  /// Multiplies to 128 bits and folds the halves together: every bit of the word reaches every bit of the lane.
  private mutating func mix(_ word: UInt64) {
    let first = (low ^ word).multipliedFullWidth(by: 0xA076_1D64_78BD_642F)
    let second = (high &+ word).multipliedFullWidth(by: 0xE703_7ED1_A0B4_28DB)
    low = (first.high ^ first.low) &+ high
    high = (second.high ^ second.low) ^ (low << 31 | low >> 33)
  }

  private static func hex(_ value: UInt64) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }
}
