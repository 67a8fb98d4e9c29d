import KilnKernels

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

  /// Offsets of the blocks, and the size of the arena.
  static func place(_ blocks: [Block]) -> (offsets: [Int], size: Int) {
    var offsets = [Int](repeating: 0, count: blocks.count)
    var rows = Rows(steps: (blocks.map(\.end).max() ?? 0) + 1)
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

  /// Placed blocks. A row is bytes that blocks of one size use one after another, such as those of a model's many layers;
  /// a shelf is neighbouring rows.
  private struct Rows {
    private typealias Use = (start: Int, end: Int)

    /// The time cut into 64 spans, a bit each.
    private struct Spans {
      /// Those that anything of it lies in.
      var touched: UInt64 = 0
      /// Those that lie in it.
      var covered: UInt64 = 0
    }

    private struct Row {
      let offset: Int
      let size: Int
      /// In order.
      var uses: [Use] = []
      var spans = Spans()

      /// Most rows are told apart by the spans that the block touches.
      func isUsed(during block: Block, _ touched: UInt64) -> Bool {
        if spans.touched & touched == 0 { return false }
        if spans.covered & touched != 0 { return true }
        guard let first = uses.first, let last = uses.last else { return false }
        guard block.start <= last.end, first.start <= block.end else { return false }
        guard block.start > first.start, block.end < last.end else { return true }
        let next = place(of: block)
        return next < uses.count && uses[next].start <= block.end
      }

      /// The first use that ends when the block has started.
      private func place(of block: Block) -> Int { uses.partition { $0.end >= block.start } }

      mutating func add(_ block: Block, _ spans: Spans) {
        uses.insert((block.start, block.end), at: place(of: block))
        self.spans.touched |= spans.touched
        self.spans.covered |= spans.covered
      }
    }

    private struct Shelf {
      /// By offset.
      var rows: [Row] = []
      var end = 0
      /// The largest gap that the rows leave.
      var gap = 0
      /// Touched by any row; covered by every one.
      var spans = Spans()

      mutating func summarize() {
        (end, gap, spans) = (rows.first?.offset ?? 0, 0, Spans(touched: 0, covered: .max))
        for row in rows {
          gap = max(gap, row.offset - end)
          end = max(end, row.offset + row.size)
          spans.touched |= row.spans.touched
          spans.covered &= row.spans.covered
        }
      }
    }

    private var shelves: [Shelf] = []
    private static let rowsOfShelf = 256
    private let stepsOfSpan: Int

    init(steps: Int) { stepsOfSpan = (steps + 63) / 64 }

    private func spans(of block: Block) -> Spans {
      func bits(_ first: Int, _ last: Int) -> UInt64 {
        first > last ? 0 : UInt64.max << UInt64(first) & UInt64.max >> UInt64(63 - last)
      }
      return Spans(
        touched: bits(block.start / stepsOfSpan, block.end / stepsOfSpan),
        covered: bits((block.start + stepsOfSpan - 1) / stepsOfSpan, (block.end + 1) / stepsOfSpan - 1))
    }

    func tightestGap(for block: Block, of size: Int) -> Int {
      let touched = spans(of: block).touched
      var best: (offset: Int, slack: Int)?
      var free = 0
      /// Whether the gap before what is used from `offset` to `end` fits to the byte.
      func pass(_ offset: Int, _ end: Int) -> Bool {
        let slack = offset - free - size
        if slack == 0 { return true }
        if slack > 0, slack < best?.slack ?? .max { best = (free, slack) }
        free = max(free, end)
        return false
      }
      for index in shelves.indices where shelves[index].end > free && shelves[index].spans.touched & touched != 0 {
        if shelves[index].spans.covered & touched != 0, shelves[index].gap < size {
          if pass(shelves[index].rows[0].offset, shelves[index].end) { return free }
          continue
        }
        for row in shelves[index].rows where row.offset + row.size > free && row.isUsed(during: block, touched) {
          if pass(row.offset, row.offset + row.size) { return free }
        }
      }
      return best?.offset ?? free
    }

    mutating func insert(_ block: Block, at offset: Int, of size: Int) {
      if shelves.isEmpty { shelves.append(Shelf()) }
      func isBefore(_ row: Row) -> Bool { (row.offset, row.size) < (offset, size) }
      let shelf = min(shelves.partition { $0.rows.last.map { !isBefore($0) } ?? true }, shelves.count - 1)
      let position = shelves[shelf].rows.partition { !isBefore($0) }
      let known = shelves[shelf].rows.dropFirst(position).first
      if known?.offset != offset || known?.size != size {
        shelves[shelf].rows.insert(Row(offset: offset, size: size), at: position)
      }
      shelves[shelf].rows[position].add(block, spans(of: block))
      if shelves[shelf].rows.count > Self.rowsOfShelf {
        var upper = Shelf()
        upper.rows = Array(shelves[shelf].rows[(Self.rowsOfShelf / 2)...])
        shelves[shelf].rows.removeLast(upper.rows.count)
        upper.summarize()
        shelves.insert(upper, at: shelf + 1)
      }
      shelves[shelf].summarize()
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
    size >= pagedSize ? BackingStore.aligned(size) : (size + alignment - 1) / alignment * alignment
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
