// Reading a text file part by part, checked on the way.

import Foundation
import KilnKernels

/// Reads UTF-8 text in parts that end where a tokenizer allows a cut, so that memory stays moderate and the parts'
/// tokens, one after another, are those of the whole text.
struct TextReader {
  /// Bytes a part has at least, but the last; longer only where the text gives no place to cut.
  static let partSize = 2 << 20

  private let file: URL
  private let handle: FileHandle
  private var buffer: [UInt8] = []
  /// Bytes of `buffer` that are known to be text, and the place of its first byte in the file.
  private var checked = 0
  private var offset = 0
  private var isAtEnd = false
  private let partSize: Int

  init(_ file: URL, partSize: Int = Self.partSize) throws(KilnError) {
    _ = try InputFile(file)
    self.file = file
    self.partSize = partSize
    handle = try openForReading(file)
  }

  /// The next part, nil after the last.
  /// - Throws: `data` at the first byte that is no UTF-8 or is 0, naming its place.
  mutating func next(cutBy tokenizer: some Tokenizer) throws(KilnError) -> [UInt8]? {
    var wanted = partSize
    while true {
      try fill(to: wanted)
      if isAtEnd { return takePart(buffer.count) }
      if let cut = tokenizer.lastCut(in: Array(buffer[..<checked])) { return takePart(cut) }
      wanted = buffer.count * 2
    }
  }

  private mutating func takePart(_ count: Int) -> [UInt8]? {
    guard count > 0 else { return nil }
    let part = Array(buffer[..<count])
    buffer.removeFirst(count)
    checked -= count
    offset += count
    return part
  }

  private mutating func fill(to count: Int) throws(KilnError) {
    while buffer.count < count, !isAtEnd {
      let bytes = try read(handle, count - buffer.count, of: file)
      isAtEnd = bytes.isEmpty
      buffer += bytes
    }
    try check()
  }

  private mutating func check() throws(KilnError) {
    let end = UTF8Text.firstIllFormed(in: buffer, from: checked)
    if let zero = buffer[checked..<end].firstIndex(of: 0) { throw notText(at: zero) }
    checked = end
    guard end < buffer.count else { return }
    let unit = UTF8Text.unit(in: buffer, at: end, end: buffer.count)
    if isAtEnd || !unit.isCutOff { throw notText(at: end) }
  }

  private func notText(at index: Int) -> KilnError {
    let digits = String(buffer[index], radix: 16, uppercase: true)
    let byte = (digits.count == 1 ? "0x0" : "0x") + digits
    return KilnError(
      .data, "\(file.path) is not UTF-8 text: byte \(byte) at offset \(offset + index)",
      hint: "Training data is UTF-8 text, or token shards as llm.c writes them.")
  }
}
