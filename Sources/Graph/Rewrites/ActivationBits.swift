/// In how many bits activations wait for the backward.
public enum ActivationBits: Sendable, Hashable, TextCodable {
  /// 8, 4 or 2, for all.
  case uniform(Int)
  /// 8, 4 or 2 for each, as its sensitivity asks, so many on average.
  case allotted(average: Double)

  /// `4`, `auto-3`.
  public init?(_ text: String) {
    if text.hasPrefix("auto-") {
      guard let average = Double(text.dropFirst(5)), (2...8).contains(average) else { return nil }
      self = .allotted(average: average)
    } else {
      guard let bits = Int(text), [8, 4, 2].contains(bits) else { return nil }
      self = .uniform(bits)
    }
  }

  public var description: String {
    switch self {
    case .uniform(let bits): "\(bits)"
    case .allotted(let average): "auto-" + (average == average.rounded() ? "\(Int(average))" : "\(average)")
    }
  }
}
