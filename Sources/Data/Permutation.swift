// A shuffled order that can be asked for one place at a time.

/// A permutation of `0..<count`, a pure function of (count, seed, round): a Feistel network over the next power of
/// four, repeated until it falls below `count` (cycle walking: Black and Rogaway 2002).
struct Permutation: Sendable {
  let count: Int
  private let halfBits: UInt64
  private let keys: [UInt64]

  init(count: Int, seed: UInt64, round: Int) {
    self.count = count
    let bits = Int.bitWidth - max(count - 1, 1).leadingZeroBitCount
    halfBits = UInt64(bits + 1) / 2
    let base = Self.mixed(Self.mixed(seed) ^ UInt64(bitPattern: Int64(round)))
    keys = (0..<6).map { Self.mixed(base &+ $0) }
  }

  subscript(index: Int) -> Int {
    var value = UInt64(index)
    repeat { value = permuted(value) } while value >= UInt64(count)
    return Int(value)
  }

  private func permuted(_ value: UInt64) -> UInt64 {
    let mask = 1 << halfBits - 1 as UInt64
    var (left, right) = (value >> halfBits, value & mask)
    for key in keys { (left, right) = (right, left ^ Self.mixed(right ^ key) & mask) }
    return left << halfBits | right
  }

  /// SplitMix64's finaliser.
  private static func mixed(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
    return z ^ z >> 31
  }
}
