// Tokens that are found in the text before it is split: special ones such as <|endoftext|>.

/// One entry of `added_tokens`.
struct AddedToken: Sendable, Equatable {
  var token: Int32
  var content: [UInt8]
  /// Takes the whitespace before it, after it.
  var stripsLeft = false
  var stripsRight = false
  /// Only where no word character touches it.
  var isSingleWord = false
  /// Looked for after those that are not: the text is normalised between the two, which here changes nothing.
  var isNormalized = false
}

/// Finds added tokens: at each place the longest, from left to right.
struct AddedTokens: Sendable {
  private let passes: [AddedTokenMatcher]

  /// Whether a cut between a letter and a whitespace can change what is found on either side of it.
  let mayCrossWords: Bool

  init(_ tokens: [AddedToken]) {
    passes = [false, true].map { isNormalized in
      AddedTokenMatcher(tokens.filter { $0.isNormalized == isNormalized && !$0.content.isEmpty })
    }.filter { !$0.isEmpty }
    mayCrossWords = tokens.contains { $0.stripsRight || $0.isSingleWord || Self.holdsWordEnd($0.content) }
  }

  /// Calls `body` with each part of the text in order: an added token, or text between them.
  func forEachPart(of text: [UInt8], _ body: (Range<Int>, Int32?) -> Void) {
    apply(passes[...], to: text, in: 0..<text.count, body)
  }

  private func apply(
    _ passes: ArraySlice<AddedTokenMatcher>, to text: [UInt8], in range: Range<Int>,
    _ body: (Range<Int>, Int32?) -> Void
  ) {
    guard !range.isEmpty else { return }
    guard let matcher = passes.first else { return body(range, nil) }
    matcher.forEachPart(of: text, in: range) { part, token in
      if let token { body(part, token) } else { apply(passes.dropFirst(), to: text, in: part, body) }
    }
  }

  /// Whether a whitespace follows another character somewhere inside.
  private static func holdsWordEnd(_ content: [UInt8]) -> Bool {
    var index = 0
    var isInText = false
    while index < content.count {
      let unit = UTF8Text.unit(in: content, at: index, end: content.count)
      let isSpace = ScalarClass.of(unit.scalar) == .whitespace
      if isSpace && isInText { return true }
      isInText = isInText || !isSpace
      index += unit.length
    }
    return false
  }
}

/// One pass over the text with a set of tokens.
private struct AddedTokenMatcher: Sendable {
  /// By first byte, longest first.
  private let candidates: [[AddedToken]]

  init(_ tokens: [AddedToken]) {
    var candidates = [[AddedToken]](repeating: [], count: 256)
    for token in tokens.sorted(by: { $0.content.count > $1.content.count }) {
      candidates[Int(token.content[0])].append(token)
    }
    self.candidates = candidates
  }

  var isEmpty: Bool { candidates.allSatisfy(\.isEmpty) }

  func forEachPart(of text: [UInt8], in range: Range<Int>, _ body: (Range<Int>, Int32?) -> Void) {
    var done = range.lowerBound
    var index = range.lowerBound
    while index < range.upperBound {
      guard let token = match(in: text, at: index, end: range.upperBound) else {
        index += 1
        continue
      }
      let place = index..<index + token.content.count
      index = place.upperBound
      if token.isSingleWord, touchesWord(in: text, place, within: range) { continue }
      let start = token.stripsLeft ? whitespaceStart(in: text, before: place.lowerBound, from: done) : place.lowerBound
      let end = token.stripsRight ? whitespaceEnd(in: text, after: index, end: range.upperBound) : index
      if done < start { body(done..<start, nil) }
      body(start..<end, token.token)
      done = end
    }
    if done < range.upperBound { body(done..<range.upperBound, nil) }
  }

  private func match(in text: [UInt8], at index: Int, end: Int) -> AddedToken? {
    let sameStart = candidates[Int(text[index])]
    return sameStart.isEmpty ? nil : sameStart.first { text[index..<end].starts(with: $0.content) }
  }

  private func touchesWord(in text: [UInt8], _ place: Range<Int>, within range: Range<Int>) -> Bool {
    if place.lowerBound > range.lowerBound, let before = UTF8Text.scalar(in: text, before: place.lowerBound),
      ScalarClass.isWord(before)
    {
      return true
    }
    guard place.upperBound < range.upperBound else { return false }
    return ScalarClass.isWord(UTF8Text.unit(in: text, at: place.upperBound, end: range.upperBound).scalar)
  }

  private func whitespaceStart(in text: [UInt8], before index: Int, from start: Int) -> Int {
    var index = max(index, start)
    while index > start, let scalar = UTF8Text.scalar(in: text, before: index), ScalarClass.of(scalar) == .whitespace {
      index -= scalar < 0x80 ? 1 : scalar < 0x800 ? 2 : 3
    }
    return index
  }

  private func whitespaceEnd(in text: [UInt8], after index: Int, end: Int) -> Int {
    var index = index
    while index < end {
      let unit = UTF8Text.unit(in: text, at: index, end: end)
      guard ScalarClass.of(unit.scalar) == .whitespace else { break }
      index += unit.length
    }
    return index
  }
}
