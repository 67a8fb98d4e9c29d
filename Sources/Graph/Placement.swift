/// A run of bytes that is needed from one step of a plan to another, both included.
struct Block {
  var size: Int
  var start: Int
  var end: Int
}

/// Places blocks in one arena so that no two overlap in time and space: the largest first, each into the tightest gap
/// between those that live at the same time, else behind them.
enum Placement {
  static let alignment = 64

  /// Offsets of the blocks, and the size of the arena.
  static func place(_ blocks: [Block]) -> (offsets: [Int], size: Int) {
    var offsets = [Int](repeating: 0, count: blocks.count)
    var placed: [Int] = []  // block indices by offset
    var total = 0
    let largestFirst = blocks.indices.sorted {
      (-blocks[$0].size, blocks[$0].start, $0) < (-blocks[$1].size, blocks[$1].start, $1)
    }
    for index in largestFirst {
      let block = blocks[index]
      let size = rounded(block.size)
      guard size > 0 else { continue }
      var best: (offset: Int, slack: Int)?
      var free = 0
      for other in placed where blocks[other].start <= block.end && block.start <= blocks[other].end {
        let gap = offsets[other] - free
        if gap >= size, gap - size < best?.slack ?? .max { best = (free, gap - size) }
        free = max(free, offsets[other] + rounded(blocks[other].size))
      }
      offsets[index] = best?.offset ?? free
      total = max(total, offsets[index] + size)
      let position = placed.firstIndex { offsets[$0] > offsets[index] } ?? placed.endIndex
      placed.insert(index, at: position)
    }
    return (offsets, total)
  }

  /// The most bytes that live at once: no arena can be smaller.
  static func lowerBound(_ blocks: [Block]) -> Int {
    var change: [Int: Int] = [:]
    for block in blocks where block.size > 0 {
      change[block.start, default: 0] += rounded(block.size)
      change[block.end + 1, default: 0] -= rounded(block.size)
    }
    var now = 0
    var peak = 0
    for step in change.keys.sorted() {
      now += change[step, default: 0]
      peak = max(peak, now)
    }
    return peak
  }

  private static func rounded(_ size: Int) -> Int { (size + alignment - 1) / alignment * alignment }
}
