/// A run of bytes that is needed from one step of a plan to another, both included.
struct Block {
  var size: Int
  var start: Int
  var end: Int
}

/// Places blocks in one arena so that no two overlap in time and space: the largest first, each into the tightest gap
/// between those that live at the same time, else behind them. Scalars are not worth a search: each has a place of its own.
enum Placement {
  static let alignment = 64
  /// From which size on a block takes whole pages.
  static let pagedSize = 1 << 16
  private static let pageSize = 4096

  /// Offsets of the blocks, and the size of the arena.
  static func place(_ blocks: [Block]) -> (offsets: [Int], size: Int) {
    var offsets = [Int](repeating: 0, count: blocks.count)
    var rows = Rows()
    var total = 0
    let largestFirst = blocks.indices.filter { blocks[$0].size > alignment }.sorted {
      (-blocks[$0].size, blocks[$0].start, $0) < (-blocks[$1].size, blocks[$1].start, $1)
    }
    for index in largestFirst {
      let size = rounded(blocks[index].size)
      offsets[index] = rows.tightestGap(for: blocks[index], of: size)
      total = max(total, offsets[index] + size)
      rows.insert(blocks[index], at: offsets[index], of: size)
    }
    for index in blocks.indices where (1...alignment).contains(blocks[index].size) {
      offsets[index] = total
      total += alignment
    }
    return (offsets, total)
  }

  /// Placed blocks. A row is bytes that blocks of one size use one after another, such as those of a model's many layers.
  private struct Rows {
    private struct Row {
      let offset: Int
      let size: Int
      /// Where its uses are.
      let index: Int
      /// The first and the last step of all its uses: most rows are told apart by these alone.
      var start = Int.max
      var end = Int.min
    }

    private var rows: [Row] = []  // by offset
    /// First and last step of each use of a row, in order.
    private var uses: [[(start: Int, end: Int)]] = []

    func tightestGap(for block: Block, of size: Int) -> Int {
      var best: (offset: Int, slack: Int)?
      var free = 0
      for row in rows where row.offset + row.size > free && isUsed(row, during: block) {
        let slack = row.offset - free - size
        if slack == 0 { return free }
        if slack > 0, slack < best?.slack ?? .max { best = (free, slack) }
        free = row.offset + row.size
      }
      return best?.offset ?? free
    }

    private func isUsed(_ row: Row, during block: Block) -> Bool {
      guard block.start <= row.end, row.start <= block.end else { return false }
      guard block.start > row.start, block.end < row.end else { return true }
      let next = place(of: block, in: row)
      return next < uses[row.index].count && uses[row.index][next].start <= block.end
    }

    /// The first use that ends when the block has started.
    private func place(of block: Block, in row: Row) -> Int { uses[row.index].partition { $0.end >= block.start } }

    mutating func insert(_ block: Block, at offset: Int, of size: Int) {
      let position = rows.partition { ($0.offset, $0.size) >= (offset, size) }
      if position == rows.count || (rows[position].offset, rows[position].size) != (offset, size) {
        rows.insert(Row(offset: offset, size: size, index: uses.count), at: position)
        uses.append([])
      }
      let row = rows[position]
      uses[row.index].insert((block.start, block.end), at: place(of: block, in: row))
      rows[position].start = min(row.start, block.start)
      rows[position].end = max(row.end, block.end)
    }
  }

  /// The most bytes that live at once: no arena can be smaller.
  static func lowerBound(_ blocks: [Block]) -> Int { occupancy(of: blocks).max() ?? 0 }

  /// The bytes that live at each step.
  static func occupancy(of blocks: [Block]) -> [Int] {
    guard let last = blocks.map(\.end).max() else { return [] }
    var change = [Int](repeating: 0, count: last + 2)
    for block in blocks {
      change[block.start] += rounded(block.size)
      change[block.end + 1] -= rounded(block.size)
    }
    var now = 0
    return change.dropLast().map { change in
      now += change
      return now
    }
  }

  /// Large blocks take whole pages, and so begin on one, since only larger ones are placed before them: direct I/O asks it.
  private static func rounded(_ size: Int) -> Int {
    let unit = size >= pagedSize ? pageSize : alignment
    return (size + unit - 1) / unit * unit
  }
}

extension Array {
  /// The index of the first element for which `belongs` holds, given that it holds for all behind that one.
  fileprivate func partition(_ belongs: (Element) -> Bool) -> Int {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low + high) / 2
      if belongs(self[middle]) { high = middle } else { low = middle + 1 }
    }
    return low
  }
}
