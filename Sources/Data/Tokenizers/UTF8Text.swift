// UTF-8 by hand: reading scalars, finding the first ill-formed byte, repairing.

/// What stands at one place of a byte string.
struct UTF8Unit {
  /// The scalar's value; U+FFFD where the bytes are ill-formed.
  var scalar: UInt32
  /// Bytes taken: of the scalar, or of the longest ill-formed part that could have begun one.
  var length: Int
  var isValid: Bool
  /// Ill-formed only because the string ends here.
  var isCutOff = false
}

enum UTF8Text {
  /// The scalar that begins at `index`, by table 3-7 of the Unicode standard. `index` must lie before `end`.
  static func unit(in bytes: [UInt8], at index: Int, end: Int) -> UTF8Unit {
    let lead = bytes[index]
    if lead < 0x80 { return UTF8Unit(scalar: UInt32(lead), length: 1, isValid: true) }
    guard let (count, second) = continuation(after: lead) else {
      return UTF8Unit(scalar: 0xFFFD, length: 1, isValid: false)
    }
    var scalar = UInt32(lead) & (0x3F >> UInt32(count))
    for offset in 1...count {
      guard index + offset < end else {
        return UTF8Unit(scalar: 0xFFFD, length: offset, isValid: false, isCutOff: true)
      }
      let byte = bytes[index + offset]
      guard (offset == 1 ? second : 0x80...0xBF).contains(byte) else {
        return UTF8Unit(scalar: 0xFFFD, length: offset, isValid: false)
      }
      scalar = scalar << 6 | UInt32(byte & 0x3F)
    }
    return UTF8Unit(scalar: scalar, length: count + 1, isValid: true)
  }

  /// How many bytes follow a lead byte, and the range of the first of them.
  private static func continuation(after lead: UInt8) -> (count: Int, second: ClosedRange<UInt8>)? {
    switch lead {
    case 0xC2...0xDF: (1, 0x80...0xBF)
    case 0xE0: (2, 0xA0...0xBF)
    case 0xED: (2, 0x80...0x9F)
    case 0xE1...0xEF: (2, 0x80...0xBF)
    case 0xF0: (3, 0x90...0xBF)
    case 0xF1...0xF3: (3, 0x80...0xBF)
    case 0xF4: (3, 0x80...0x8F)
    default: nil
    }
  }

  /// The scalar that ends before `index` in well-formed text; nil at its beginning.
  static func scalar(in bytes: [UInt8], before index: Int) -> UInt32? {
    var start = index - 1
    while start > 0, bytes[start] & 0xC0 == 0x80 { start -= 1 }
    return start >= 0 ? unit(in: bytes, at: start, end: index).scalar : nil
  }

  /// The text with each ill-formed part replaced by U+FFFD, as Python's `decode("utf-8", "replace")` does.
  static func repaired(_ bytes: [UInt8]) -> [UInt8] {
    var index = firstIllFormed(in: bytes, from: 0)
    guard index < bytes.count else { return bytes }
    var result = Array(bytes[..<index])
    while index < bytes.count {
      let unit = unit(in: bytes, at: index, end: bytes.count)
      result += unit.isValid ? bytes[index..<index + unit.length] : [0xEF, 0xBF, 0xBD]
      index += unit.length
    }
    return result
  }

  /// The place of the first ill-formed part from `start` on; the count of bytes where all is well.
  static func firstIllFormed(in bytes: [UInt8], from start: Int) -> Int {
    var index = start
    while index < bytes.count {
      let unit = unit(in: bytes, at: index, end: bytes.count)
      guard unit.isValid else { return index }
      index += unit.length
    }
    return index
  }
}
