// How byte-level BPE writes bytes as printable characters.

/// GPT-2's alphabet: bytes that print stand for themselves, the other 68 are written U+0100, U+0101, … in order.
enum ByteAlphabet {
  static let scalars: [Unicode.Scalar] = {
    var next: UInt32 = 0x100
    return (0...UInt8.max).map { byte in
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return Unicode.Scalar(byte)
      default:
        defer { next += 1 }
        return Unicode.Scalar(next) ?? "\u{FFFD}"
      }
    }
  }()

  /// By scalar value; nil where a scalar stands for no byte.
  private static let bytes: [UInt8?] = {
    var bytes = [UInt8?](repeating: nil, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { bytes[Int(scalar.value)] = UInt8(byte) }
    return bytes
  }()

  static func string(of bytes: some Sequence<UInt8>) -> String {
    var string = String.UnicodeScalarView()
    for byte in bytes { string.append(scalars[Int(byte)]) }
    return String(string)
  }

  /// The bytes that a token, written in UTF-8, stands for; nil if a character is not of the alphabet.
  static func bytes(of token: [UInt8]) -> [UInt8]? {
    var result: [UInt8] = []
    var index = 0
    while index < token.count {
      let unit = UTF8Text.unit(in: token, at: index, end: token.count)
      guard unit.scalar < bytes.count, let byte = bytes[Int(unit.scalar)] else { return nil }
      result.append(byte)
      index += unit.length
    }
    return result
  }
}
