// The regular expressions of the GPT-2 and Llama-3 families as hand-written scanners.

/// A pattern that cuts text into pieces; merges never cross them. Scanning needs nothing left of where it begins.
enum SplitPattern: Sendable, Equatable {
  /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
  case gpt2

  /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,n}`
  /// `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
  /// with n = 3 in Llama 3 and n = 1 in Qwen 2.
  case llama3(digits: Int)

  /// The scanner of a regular expression as it is written in tokenizer.json.
  init?(regex: String) {
    let known = Self.regexes.first { $0.regex == regex }
    guard let known else { return nil }
    self = known.pattern
  }

  private static let regexes: [(regex: String, pattern: SplitPattern)] = [
    (#"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#, .gpt2),
    (llama3Regex(digits: #"\p{N}{1,3}"#), .llama3(digits: 3)),
    (llama3Regex(digits: #"\p{N}"#), .llama3(digits: 1)),
  ]

  private static func llama3Regex(digits: String) -> String {
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"# + digits
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// The end of the piece that begins at `start` of the well-formed text `text[..<end]`; `start < end`.
  func pieceEnd(in text: [UInt8], from start: Int, end: Int) -> Int {
    let scanner = PieceScanner(text: text, end: end)
    return switch self {
    case .gpt2: scanner.gpt2PieceEnd(from: start)
    case .llama3(let digits): scanner.llama3PieceEnd(from: start, digits: digits)
    }
  }
}

/// Runs of character classes in well-formed text that ends before `end`.
private struct PieceScanner {
  let text: [UInt8]
  let end: Int

  func gpt2PieceEnd(from start: Int) -> Int {
    if let contraction = contractionEnd(from: start, anyCase: false) { return contraction }
    var (kind, next) = character(at: start)
    if text[start] == 0x20, next < end {
      let (following, afterNext) = character(at: next)
      if following != .whitespace { (kind, next) = (following, afterNext) }
    }
    return kind == .whitespace ? whitespaceEnd(from: start) : runEnd(of: kind, from: next)
  }

  func llama3PieceEnd(from start: Int, digits: Int) -> Int {
    if let contraction = contractionEnd(from: start, anyCase: true) { return contraction }
    let (kind, next) = character(at: start)
    if kind == .letter { return runEnd(of: .letter, from: next) }
    if kind == .number { return runEnd(of: .number, from: next, limit: digits - 1) }
    if next < end, !isLineBreak(at: start) {
      let (following, afterNext) = character(at: next)
      if following == .letter { return runEnd(of: .letter, from: afterNext) }
      if following == .other, text[start] == 0x20 { return punctuationEnd(from: afterNext) }
    }
    return kind == .other ? punctuationEnd(from: next) : whitespaceEnd(from: start, breaksLines: true)
  }

  private func character(at index: Int) -> (kind: ScalarClass, next: Int) {
    let unit = UTF8Text.unit(in: text, at: index, end: end)
    return (ScalarClass.of(unit.scalar), index + unit.length)
  }

  private func isLineBreak(at index: Int) -> Bool { text[index] == 0x0A || text[index] == 0x0D }

  private func runEnd(of kind: ScalarClass, from start: Int, limit: Int = .max) -> Int {
    var index = start
    var count = 0
    while index < end, count < limit {
      let (current, next) = character(at: index)
      guard current == kind else { break }
      index = next
      count += 1
    }
    return index
  }

  /// The rest of `[^\s\p{L}\p{N}]+[\r\n]*`.
  private func punctuationEnd(from start: Int) -> Int {
    var index = runEnd(of: .other, from: start)
    while index < end, isLineBreak(at: index) { index += 1 }
    return index
  }

  /// `\s+(?!\S)|\s+`: a run before other text leaves its last character to it, if it has more than one.
  /// With `breaksLines`, `\s*[\r\n]+` goes first: a run that holds a line break ends after its last one.
  private func whitespaceEnd(from start: Int, breaksLines: Bool = false) -> Int {
    var index = start
    var last = start
    var afterBreak: Int?
    while index < end {
      let (kind, next) = character(at: index)
      guard kind == .whitespace else { break }
      if isLineBreak(at: index) { afterBreak = next }
      last = index
      index = next
    }
    if breaksLines, let afterBreak { return afterBreak }
    return index == end || last == start ? index : last
  }

  /// `'s 't 're 've 'm 'll 'd`; in any case also U+017F, the long s that case folding makes an s.
  private func contractionEnd(from start: Int, anyCase: Bool) -> Int? {
    guard text[start] == 0x27, start + 1 < end else { return nil }
    let fold: UInt8 = anyCase ? 0x20 : 0
    let first = text[start + 1] | fold
    if first == 0x73 || first == 0x74 || first == 0x6D || first == 0x64 { return start + 2 }
    guard start + 2 < end else { return nil }
    let second = text[start + 2]
    if anyCase, text[start + 1] == 0xC5, second == 0xBF { return start + 3 }
    switch (first, second | fold) {
    case (0x72, 0x65), (0x76, 0x65), (0x6C, 0x6C): return start + 3
    default: return nil
    }
  }
}
