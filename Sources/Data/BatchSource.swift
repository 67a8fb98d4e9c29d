// Training batches as a function of the step.

import KilnKernels

/// Cuts a corpus into sequences and deals them out. Sequence `i` takes tokens `[iT, iT+T]`: T inputs and their T next
/// tokens, one token shared with its neighbour. Step `s` takes places `sB ..< sB+B` of the order, which goes on from
/// epoch to epoch. There is no state: the step is the cursor.
public struct BatchSource: Sendable {
  public enum Order: Sendable, Equatable {
    /// As in the corpus, each epoch again.
    case sequential
    /// Another permutation in each epoch, a function of the seed and the epoch.
    case shuffled(seed: UInt64)
  }

  public let corpus: Corpus
  public let context: Int
  public let rows: Int
  public let order: Order
  /// Whole sequences in the corpus: an epoch.
  public let sequenceCount: Int

  /// - Throws: `argument` if a size is not positive, `data` if the corpus holds no whole sequence.
  public init(_ corpus: Corpus, context: Int, batch rows: Int, order: Order) throws(KilnError) {
    try Batch.check(context: context, rows: rows)
    guard corpus.count > context else {
      throw KilnError(
        .data, "the data has \(corpus.count) tokens, but a context of \(context) needs at least \(context + 1)",
        hint: "Give more data or a shorter --context.")
    }
    self.corpus = corpus
    self.context = context
    self.rows = rows
    self.order = order
    sequenceCount = (corpus.count - 1) / context
  }

  /// The batch of a step, from 0.
  public func batch(step: Int) -> Batch {
    var batch = Batch(rows: rows, context: context)
    for row in 0..<rows {
      let start = sequence(at: step * rows + row) * context
      batch.append(corpus[start..<start + context + 1], context: context)
    }
    return batch
  }

  /// The sequence at a place of the order, counted over all epochs.
  func sequence(at place: Int) -> Int {
    let (epoch, index) = place.quotientAndRemainder(dividingBy: sequenceCount)
    switch order {
    case .sequential: return index
    case .shuffled(let seed): return Permutation(count: sequenceCount, seed: seed, round: epoch)[index]
    }
  }
}
