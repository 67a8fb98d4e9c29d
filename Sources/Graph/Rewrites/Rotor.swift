import KilnKernels

/// The fastest persistent schedule of a chain within a budget (Beaumont et al., arXiv 1911.13214): what is kept from one
/// stage to the next is chosen by dynamic programming over the chain, whose stages differ in time and size.
///
/// C(s, t, m) is the least time of forward and backward of stages s ... t with m bytes beside the input of s, all in
/// slots of one size. Either everything that the backward of s needs is kept at once,
///   f(s) + C(s + 1, t, m - all(s)) + b(s),
/// or the input of a later stage alone, and the stages before run again,
///   f(s) + ... + f(j - 1) + C(j, t, m - input(j)) + C(s, j - 1, m).
struct Rotor {
  struct Stage {
    /// Seconds.
    var forward: Double
    var backward: Double
    /// Bytes that later stages of the forward take.
    var output: Int
    /// Bytes that the backward needs of it, the output included.
    var all: Int
    /// The most bytes of its own alive while it runs, forward and backward.
    var forwardPeak: Int
    var backwardPeak: Int
  }

  static let slots = 256

  private let sizes: [(output: Int, all: Int, forward: Int, backward: Int)]  // in slots
  private let stages: [Stage]
  /// By m, s and t: the least time and how it comes about.
  private var table: [Entry] = []

  private struct Entry {
    var time = Double.infinity
    /// The stage whose input alone is kept of those from the first on; 0 where all is kept that the first one makes.
    var kept: Int32 = 0
  }

  init(_ stages: [Stage]) {
    self.stages = stages
    let most =
      stages.reduce(0) { $0 + $1.all } + (stages.map { max($0.forwardPeak, $0.backwardPeak + $0.output) }.max() ?? 0)
    let slot = max(1, (most + Self.slots - 1) / Self.slots)
    func inSlots(_ bytes: Int) -> Int { (bytes + slot - 1) / slot }
    sizes = stages.map {
      (inSlots($0.output), inSlots($0.all), inSlots($0.forwardPeak), inSlots($0.all + $0.output + $0.backwardPeak))
    }
    table = [Entry](repeating: Entry(), count: (Self.slots + stages.count + 1) * stages.count * stages.count)
    solve()
  }

  private var largest: Int { Self.slots + stages.count }

  private func place(_ first: Int, _ last: Int, _ memory: Int) -> Int {
    (memory * stages.count + first) * stages.count + last
  }

  private func time(_ first: Int, _ last: Int, _ memory: Int) -> Double {
    memory < 0 ? .infinity : table[place(first, last, memory)].time
  }

  private mutating func solve() {
    for length in 0..<stages.count {
      for first in 0..<stages.count - length {
        for memory in 0...largest { table[place(first, first + length, memory)] = best(first, first + length, memory) }
      }
    }
  }

  private func best(_ first: Int, _ last: Int, _ memory: Int) -> Entry {
    var best = Entry()
    let size = sizes[first]
    guard memory >= size.forward else { return best }
    if memory >= size.backward {
      let rest = first == last ? 0 : time(first + 1, last, memory - size.all)
      best.time = stages[first].forward + rest + stages[first].backward
    }
    var forward = 0.0
    for next in first..<last {
      // The stage before the one whose input is kept runs with its own input and output.
      guard memory >= (next > first ? sizes[next - 1].output : 0) + sizes[next].forward else { break }
      forward += stages[next].forward
      let total = forward + time(next + 1, last, memory - sizes[next].output) + time(first, next, memory)
      if total < best.time { best = Entry(time: total, kept: Int32(next + 1)) }
    }
    return best
  }

  /// The least time with so many slots; infinite where nothing fits.
  func time(slots: Int) -> Double { time(0, stages.count - 1, slots) }

  /// The stages that run again before the backward of each; nil where nothing fits.
  func schedule(slots: Int) -> [[Int]]? {
    guard time(slots: slots).isFinite else { return nil }
    var again = [[Int]](repeating: [], count: stages.count)
    var pending: [Int] = []
    var reached = 0  // stages that have run once

    func forward(_ stage: Int) {
      if stage == reached { reached += 1 } else { pending.append(stage) }
    }
    func backward(_ stage: Int) {
      again[stage] = pending
      pending = []
    }
    func walk(_ first: Int, _ last: Int, _ memory: Int) {
      let next = Int(table[place(first, last, memory)].kept)
      if next == 0 {
        forward(first)
        if first < last { walk(first + 1, last, memory - sizes[first].all) }
        backward(first)
      } else {
        for stage in first..<next { forward(stage) }
        walk(next, last, memory - sizes[next - 1].output)
        walk(first, next - 1, memory)
      }
    }
    walk(0, stages.count - 1, slots)
    return again
  }
}
