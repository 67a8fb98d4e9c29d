// Which tokens each step sees, in both orders, and the windows of an evaluation.

import KilnKernels
import Testing

@testable import KilnData

@Suite struct BatchTests {
  private let corpus = Corpus(tokens: Array(0..<23))

  private func failure(_ body: () throws(KilnError) -> Void) -> KilnError? {
    do throws(KilnError) { try body() } catch { return error }
    return nil
  }

  @Test func sequentialBatchesWalkAndWrap() throws {
    let source = try BatchSource(corpus, context: 4, batch: 2, order: .sequential)
    #expect(source.sequenceCount == 5)
    let first = source.batch(step: 0)
    #expect(first.inputs == [0, 1, 2, 3, 4, 5, 6, 7] && first.targets == [1, 2, 3, 4, 5, 6, 7, 8])
    #expect(first.targetCount == 8)
    #expect(source.batch(step: 2).inputs == [16, 17, 18, 19, 0, 1, 2, 3])
    #expect(source.batch(step: 5) == first)
  }

  @Test func aCorpusOfOneSequenceIsEnough() throws {
    let source = try BatchSource(Corpus(tokens: [3, 1, 2]), context: 2, batch: 3, order: .shuffled(seed: 1))
    #expect(source.batch(step: 7).inputs == [3, 1, 3, 1, 3, 1])
  }

  @Test func shuffledEpochsAreDifferentPermutations() throws {
    let long = Corpus(tokens: Array(0..<1001))
    let source = try BatchSource(long, context: 5, batch: 8, order: .shuffled(seed: 42))
    #expect(source.sequenceCount == 200)
    func epoch(_ epoch: Int, _ source: BatchSource) -> [Int] { (0..<200).map { source.sequence(at: epoch * 200 + $0) } }
    let epochs = (0..<4).map { epoch($0, source) }
    for order in epochs { #expect(order.sorted() == Array(0..<200)) }
    #expect(Set(epochs).count == 4 && !epochs.contains(Array(0..<200)))
    #expect(epoch(2, try BatchSource(long, context: 5, batch: 8, order: .shuffled(seed: 42))) == epochs[2])
    #expect(epoch(2, try BatchSource(long, context: 5, batch: 8, order: .shuffled(seed: 43))) != epochs[2])
    // A step is a function of its number alone: batch 30 spans the end of the first epoch's 25 batches and more.
    #expect(source.batch(step: 30).inputs.first == Int32(source.sequence(at: 240) * 5))
  }

  @Test(arguments: [1, 2, 3, 4, 5, 16, 17, 64, 65, 1000])
  func permutationsAreOneToOne(count: Int) {
    for round in 0..<3 {
      let permutation = Permutation(count: count, seed: 7, round: round)
      #expect(Set((0..<count).map { permutation[$0] }) == Set(0..<count))
    }
  }

  @Test func permutationsSpreadEvenly() {
    // Each of 10 items at each of 10 places: 2000 rounds give 200 each, standard deviation about 13.4.
    var counts = [Int](repeating: 0, count: 100)
    for round in 0..<2000 {
      let permutation = Permutation(count: 10, seed: 3, round: round)
      for index in 0..<10 { counts[index * 10 + permutation[index]] += 1 }
    }
    #expect(counts.allSatisfy { abs($0 - 200) < 70 })
  }

  @Test(arguments: [2, 3, 8, 9, 10, 23, 24, 25, 26, 100])
  func windowsCoverEveryTargetOnce(count: Int) throws {
    let windows = try EvaluationWindows(Corpus(tokens: Array(0..<Int32(count))), context: 4, batch: 3)
    var inputs: [Int32] = []
    var targets: [Int32] = []
    var total = 0
    for index in 0..<windows.count {
      let batch = windows[index]
      #expect(batch.inputs.count == 12 && batch.targets.count == 12 && batch.targetCount > 0)
      #expect(batch.targets.filter { $0 != ignoredTarget }.count == batch.targetCount)
      for (input, target) in zip(batch.inputs, batch.targets) {
        guard target != ignoredTarget else {
          #expect(input == 0)
          continue
        }
        inputs.append(input)
        targets.append(target)
      }
      total += batch.targetCount
    }
    #expect(total == count - 1)
    #expect(inputs == Array(0..<Int32(count - 1)) && targets == Array(1..<Int32(count)))
  }

  @Test func namesWhatIsTooSmall() throws {
    let short = try #require(
      failure { () throws(KilnError) in _ = try BatchSource(corpus, context: 23, batch: 1, order: .sequential) })
    #expect(short.kind == .data && short.message == "the data has 23 tokens, but a context of 23 needs at least 24")
    for (context, batch) in [(0, 1), (1, 0), (-3, 2), (1 << 40, 1 << 40)] {
      let error = failure { () throws(KilnError) in
        _ = try BatchSource(corpus, context: context, batch: batch, order: .sequential)
      }
      #expect(error?.kind == .argument)
      #expect(
        failure { () throws(KilnError) in _ = try EvaluationWindows(corpus, context: context, batch: batch) }?.kind
          == .argument)
    }
    #expect(
      failure { () throws(KilnError) in _ = try EvaluationWindows(Corpus(tokens: [1]), context: 4, batch: 1) }?.kind
        == .data)
  }
}
