// The four classes of characters that the splitting patterns tell apart.

/// `\p{L}`, `\p{N}`, `\s`, and the rest.
enum ScalarClass: UInt8, Sendable {
  case other, letter, number, whitespace

  /// The class of a scalar value. Values that are no scalars count as `other`.
  static func of(_ scalar: UInt32) -> ScalarClass {
    switch scalar {
    case 0x41...0x5A, 0x61...0x7A: .letter
    case 0x30...0x39: .number
    case 0x09...0x0D, 0x20: .whitespace
    case 0..<0x80: .other
    case 0..<0x10000: basicPlane[Int(scalar)]
    default: computed(scalar)
    }
  }

  private static let basicPlane: [ScalarClass] = (0..<0x10000).map { computed($0) }

  /// Characters newer than Unicode 16 count as unassigned, as in the reference library:
  /// an encoding must not change with the Unicode version of the Swift runtime.
  private static func computed(_ value: UInt32) -> ScalarClass {
    guard let scalar = Unicode.Scalar(value), let age = scalar.properties.age, age.major <= 16 else { return .other }
    if scalar.properties.isWhitespace { return .whitespace }
    return switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: .letter
    case .decimalNumber, .letterNumber, .otherNumber: .number
    default: .other
    }
  }

  /// `\w`: letters, marks, decimal digits, connectors and joiners.
  static func isWord(_ value: UInt32) -> Bool {
    guard let properties = Unicode.Scalar(value)?.properties else { return false }
    if properties.isAlphabetic || properties.isJoinControl { return true }
    return switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: true
    default: false
    }
  }
}
