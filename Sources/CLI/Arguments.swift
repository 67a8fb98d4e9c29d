// Values on the command line that are more than a word or a number.

import ArgumentParser
import Kiln

/// Two numbers with a comma: `0.9,0.95`.
struct Pair: ExpressibleByArgument {
  var values: [Double]

  init?(argument: String) {
    values = argument.split(separator: ",", omittingEmptySubsequences: false).compactMap { Double($0) }
    guard values.count == 2, argument.count(where: { $0 == "," }) == 1 else { return nil }
  }
}

/// A span of time in seconds: `45s`, `90m`, `1h30m`; a bare number counts seconds.
struct Seconds: ExpressibleByArgument {
  var value: Double

  private static let units: [Character: Double] = ["s": 1, "m": 60, "h": 3600, "d": 86400]

  init?(argument: String) {
    if let seconds = Double(argument) {
      value = seconds
      return
    }
    value = 0
    var digits = ""
    for character in argument {
      if let unit = Self.units[character] {
        guard let number = Double(digits) else { return nil }
        value += number * unit
        digits = ""
      } else {
        digits.append(character)
      }
    }
    guard digits.isEmpty, !argument.isEmpty else { return nil }
  }
}

/// Bytes: `512MiB`, `2GB` (10^9), `1.5GiB` (2^30); a bare number counts bytes.
struct ByteCount: ExpressibleByArgument {
  var value: Int

  private static let units: [String: Double] = [
    "": 1, "b": 1, "k": 1e3, "kb": 1e3, "kib": 0x1p10, "m": 1e6, "mb": 1e6, "mib": 0x1p20, "g": 1e9, "gb": 1e9,
    "gib": 0x1p30, "t": 1e12, "tb": 1e12, "tib": 0x1p40,
  ]

  init?(argument: String) {
    let digits = argument.prefix { $0.isNumber || $0 == "." }
    let unit = argument.dropFirst(digits.count).trimmingPrefix(while: \.isWhitespace).lowercased()
    guard let number = Double(digits), let factor = Self.units[unit] else { return nil }
    guard let bytes = Int(exactly: (number * factor).rounded()), bytes > 0 else { return nil }
    value = bytes
  }
}

/// What is offloaded, with commas: `states,activations`.
struct OffloadList: ExpressibleByArgument {
  var values: [TrainingConfiguration.Offload]

  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    values = parts.compactMap { TrainingConfiguration.Offload(rawValue: String($0)) }
    guard values.count == parts.count, Set(values).count == values.count else { return nil }
  }
}

/// Token numbers with commas: `1,2,3`.
struct TokenList: ExpressibleByArgument {
  var tokens: [Int32]

  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    tokens = parts.compactMap { Int32($0.trimmingPrefix(while: \.isWhitespace)) }
    guard tokens.count == parts.count else { return nil }
  }
}

/// The value of an option that must be given. Asked for when a command runs, so that a misspelt option is named first.
func required<Value>(_ value: Value?, _ option: String) throws -> Value {
  guard let value else { throw ValidationError("Missing expected argument '\(option)'") }
  return value
}

extension TrainingConfiguration.Architecture: ExpressibleByArgument {}
extension TrainingConfiguration.Order: ExpressibleByArgument {}
extension TrainingConfiguration.OptimizerName: ExpressibleByArgument {}
extension Precision: ExpressibleByArgument {}
extension Recomputation: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}
extension ActivationBits: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}
extension TrainingConfiguration.Allowance: ExpressibleByArgument {}
extension StateFormat: ExpressibleByArgument {}
extension MasterWeights: ExpressibleByArgument {}
extension Schedule.Shape: ExpressibleByArgument {}
extension LearningRateScaling: ExpressibleByArgument {}
extension Context.Device: ExpressibleByArgument {}
