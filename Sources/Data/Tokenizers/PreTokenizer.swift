// Cutting text into the pieces within which byte pairs are merged.

/// The steps of a tokenizer.json's `pre_tokenizer`, in order; each works on the pieces of the one before.
struct PreTokenizer: Sendable, Equatable {
  enum Step: Sendable, Equatable {
    case pattern(SplitPattern)
    /// Numbers stand apart from other text: one by one, or as runs.
    case digits(individual: Bool)
    /// A piece that does not begin with a space gets one.
    case prefixSpace
  }

  var steps: [Step]

  /// Whether text may be cut before any whitespace; if not, only before U+0020, which needs no prefix.
  var cutsBeforeLineBreaks: Bool { !steps.contains(.prefixSpace) }

  /// Calls `body` with each piece of the well-formed text `text[range]`: the bytes it lies in, and where.
  func forEachPiece(of text: [UInt8], in range: Range<Int>, _ body: ([UInt8], Range<Int>) -> Void) {
    apply(steps[...], to: text, in: range, body)
  }

  private func apply(
    _ steps: ArraySlice<Step>, to text: [UInt8], in range: Range<Int>, _ body: ([UInt8], Range<Int>) -> Void
  ) {
    guard !range.isEmpty else { return }
    guard let step = steps.first else { return body(text, range) }
    let rest = steps.dropFirst()
    if step == .prefixSpace {
      guard text[range.lowerBound] != 0x20 else { return apply(rest, to: text, in: range, body) }
      let prefixed = [0x20] + text[range]
      return apply(rest, to: prefixed, in: 0..<prefixed.count, body)
    }
    var start = range.lowerBound
    while start < range.upperBound {
      let end = step.pieceEnd(in: text, from: start, end: range.upperBound)
      apply(rest, to: text, in: start..<end, body)
      start = end
    }
  }
}

extension PreTokenizer.Step {
  fileprivate func pieceEnd(in text: [UInt8], from start: Int, end: Int) -> Int {
    switch self {
    case .pattern(let pattern): return pattern.pieceEnd(in: text, from: start, end: end)
    case .prefixSpace: return end
    case .digits(let individual):
      let first = UTF8Text.unit(in: text, at: start, end: end)
      let isNumber = ScalarClass.of(first.scalar) == .number
      var index = start + first.length
      while index < end, !(isNumber && individual) {
        let unit = UTF8Text.unit(in: text, at: index, end: end)
        guard (ScalarClass.of(unit.scalar) == .number) == isNumber else { break }
        index += unit.length
      }
      return index
    }
  }
}
