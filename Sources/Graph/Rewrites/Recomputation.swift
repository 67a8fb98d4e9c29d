/// What of the forward pass runs again in the backward.
public enum Recomputation: Sendable, Hashable, TextCodable {
  case none
  /// Attention alone.
  case attention
  /// All between every so many layers.
  case every(Int)
  /// All between every sqrt(layers) layers.
  case squareRoot

  /// `none`, `attention`, `sqrt`, `every-2`.
  public init?(_ text: String) {
    switch text {
    case "none": self = .none
    case "attention": self = .attention
    case "sqrt": self = .squareRoot
    default:
      guard text.hasPrefix("every-"), let count = Int(text.dropFirst(6)), count > 0 else { return nil }
      self = .every(count)
    }
  }

  public var description: String {
    switch self {
    case .none: "none"
    case .attention: "attention"
    case .squareRoot: "sqrt"
    case .every(let count): "every-\(count)"
    }
  }

  /// For a graph; nil where nothing runs again.
  public func rewrite(of graph: Graph) -> Recompute? {
    switch self {
    case .none: nil
    case .attention: .attention(of: graph)
    case .every(let count): .every(count, layersOf: graph)
    case .squareRoot: .squareRoot(layersOf: graph)
    }
  }
}
