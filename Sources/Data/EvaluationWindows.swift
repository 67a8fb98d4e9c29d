// Walking data once, from front to back.

import KilnKernels

/// The windows of a corpus in order, without wrapping: window `i` has the targets `iT+1 ... iT+T`, the last one as many
/// as are left. Batches have a fixed shape, padded; their target counts add up to `corpus.count - 1`.
public struct EvaluationWindows: Sendable {
  public let corpus: Corpus
  public let context: Int
  public let rows: Int
  /// Batches in all.
  public let count: Int

  /// - Throws: `argument` if a size is not positive, `data` if there is nothing to predict.
  public init(_ corpus: Corpus, context: Int, batch rows: Int) throws(KilnError) {
    try Batch.check(context: context, rows: rows)
    guard corpus.count > 1 else {
      throw KilnError(.data, "the data has \(corpus.count) tokens; at least 2 are needed to predict one")
    }
    self.corpus = corpus
    self.context = context
    self.rows = rows
    count = (corpus.count - 2) / (context * rows) + 1
  }

  /// Batch `index`, from 0 to `count - 1`.
  public subscript(index: Int) -> Batch {
    var batch = Batch(rows: rows, context: context)
    for row in 0..<rows {
      let start = min((index * rows + row) * context, corpus.count)
      batch.append(corpus[start..<min(start + context + 1, corpus.count)], context: context)
    }
    return batch
  }
}
