// A hash table of byte strings: the vocabulary, the encoder's cache and the trainer's word counts.

/// Distinct byte strings, numbered from 0 in the order in which they came. Looking up a part of a text copies nothing.
struct ByteStringTable: Sendable {
  private var bytes: [UInt8] = []
  private var ends: [Int] = []
  private var hashes: [UInt64] = []
  /// Open addressing; -1 is free. Always a power of two, at most half full.
  private var slots = [Int](repeating: -1, count: 64)

  var count: Int { ends.count }

  subscript(index: Int) -> ArraySlice<UInt8> { bytes[start(of: index)..<ends[index]] }

  /// The number of `text[range]`, if it is there.
  func find(_ text: [UInt8], _ range: Range<Int>) -> Int? {
    let found = slots[slot(for: text, range, hash: Self.hash(text, range))]
    return found >= 0 ? found : nil
  }

  /// The number of `text[range]`, which is added if it is new.
  mutating func insert(_ text: [UInt8], _ range: Range<Int>) -> (index: Int, isNew: Bool) {
    let hash = Self.hash(text, range)
    let slot = slot(for: text, range, hash: hash)
    if slots[slot] >= 0 { return (slots[slot], false) }
    slots[slot] = count
    bytes += text[range]
    ends.append(bytes.count)
    hashes.append(hash)
    if count * 2 > slots.count { grow() }
    return (count - 1, true)
  }

  private func start(of index: Int) -> Int { index == 0 ? 0 : ends[index - 1] }

  /// The slot that holds the string, or the free one where it belongs.
  private func slot(for text: [UInt8], _ range: Range<Int>, hash: UInt64) -> Int {
    var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
    while slots[slot] >= 0, !holds(slots[slot], text, range, hash: hash) { slot = (slot + 1) & (slots.count - 1) }
    return slot
  }

  private func holds(_ index: Int, _ text: [UInt8], _ range: Range<Int>, hash: UInt64) -> Bool {
    let start = start(of: index)
    guard hashes[index] == hash, ends[index] - start == range.count else { return false }
    for offset in 0..<range.count where bytes[start + offset] != text[range.lowerBound + offset] { return false }
    return true
  }

  private mutating func grow() {
    slots = [Int](repeating: -1, count: slots.count * 2)
    for (index, hash) in hashes.enumerated() {
      var slot = Int(truncatingIfNeeded: hash) & (slots.count - 1)
      while slots[slot] >= 0 { slot = (slot + 1) & (slots.count - 1) }
      slots[slot] = index
    }
  }

  /// FNV-1a, folded so that the low bits depend on all.
  private static func hash(_ text: [UInt8], _ range: Range<Int>) -> UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for index in range { hash = (hash ^ UInt64(text[index])) &* 0x100_0000_01B3 }
    return hash ^ hash >> 32
  }
}
