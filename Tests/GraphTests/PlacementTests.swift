import KilnTestSupport
import Testing

@testable import KilnGraph

struct PlacementTests {
  /// Blocks as a training step has them: sizes of a few classes, lifetimes nested and short.
  private func blocks(seed: UInt64, count: Int) -> [Block] {
    let numbers = pseudoRandom(3 * count, seed: seed).map { ($0 + 1) / 2 }
    return (0..<count).map { index in
      let start = Int(numbers[3 * index] * 200)
      let length = Int(numbers[3 * index + 1] * numbers[3 * index + 1] * 80)
      return Block(size: 1 << Int(6 + numbers[3 * index + 2] * 10), start: start, end: start + length)
    }
  }

  @Test(arguments: 1...8 as ClosedRange<UInt64>) func nothingOverlaps(seed: UInt64) {
    let blocks = blocks(seed: seed, count: 150)
    let (offsets, size) = Placement.place(blocks)
    for i in blocks.indices {
      #expect(offsets[i] % Placement.alignment == 0 && offsets[i] + blocks[i].size <= size)
      for j in blocks.indices where j > i {
        let together = blocks[i].start <= blocks[j].end && blocks[j].start <= blocks[i].end
        let apart = offsets[i] + blocks[i].size <= offsets[j] || offsets[j] + blocks[j].size <= offsets[i]
        #expect(!together || apart, "blocks \(i) and \(j)")
      }
    }
    #expect(size >= Placement.lowerBound(blocks))
    #expect(Double(size) <= 1.25 * Double(Placement.lowerBound(blocks)))
  }

  @Test func reusesWhatIsFree() {
    let blocks = [
      Block(size: 640, start: 0, end: 1), Block(size: 640, start: 2, end: 3), Block(size: 64, start: 0, end: 3),
    ]
    #expect(Placement.place(blocks).size == 704)
  }
}
