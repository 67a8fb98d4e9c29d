import KilnGraph
import KilnKernels

/// What sparse weights keep, by the weight's name.
public typealias SparsePatterns = [String: SparsePattern]

/// In which forms a model's projections are kept, where that is not as dense matrices.
public struct WeightForms: Sendable {
  /// Of sparse weights.
  public var patterns: SparsePatterns
  /// Of all projections: products take some elements only, chosen anew in each step.
  public var mask: GroupMask?
  /// Of projections whose inputs are heads or neurons: these have learned factors, with this penalty (slimming).
  public var slimming: Double?
  /// Of what is added to sparse weights, by their name (Pixelfly): the rank.
  public var ranks: [String: Int] = [:]
  /// Of projections that are two sparse matrices, the second of which `patterns` has (Monarch): the first, by the
  /// weight's name.
  public var first: SparsePatterns = [:]

  public var isDense: Bool { patterns.isEmpty && mask == nil && slimming == nil }

  public static let dense = WeightForms()

  public init(patterns: SparsePatterns = [:], mask: GroupMask? = nil, slimming: Double? = nil) {
    self.patterns = patterns
    self.mask = mask
    self.slimming = slimming
  }

  /// The weight of a projection that is stored with this shape.
  /// - Parameter unit: inputs that can only be left out together; nil where none can.
  func weight(_ name: String, _ shape: Shape, _ projection: Parameter.Projection, unit: Int?) -> Parameter {
    var projection = projection
    projection.mask = mask
    if let slimming, let unit { projection.slimming = Slimming(group: unit, penalty: slimming) }
    guard let pattern = patterns[name] else { return Parameter(name, shape, projection: projection) }
    let start = first[name].map { Parameter.Start.wider(Self.spread($0, pattern)) }
    let weight = Parameter(name, TensorType(pattern), projection: projection, start: start)
    precondition(first[name] != nil || weight.denseShape == shape, "the pattern of \(name) is of another shape")
    return weight
  }

  /// What the second of two matrices starts with, so that their product is spread as one dense matrix would be, when the
  /// first leaves variances as they are.
  private static func spread(_ first: SparsePattern, _ second: SparsePattern) -> Double {
    (Double(first.columns) / (second.density * Double(second.columns))).squareRoot()
  }

  /// What comes before a weight.
  func first(of name: String) -> Parameter? {
    first[name].map { pattern in
      let inputs = pattern.density * Double(pattern.columns)
      return Parameter(
        name + ".first", TensorType(pattern), projection: .init(), start: .normal(std: 1 / inputs.squareRoot()))
    }
  }

  /// What is added to a weight: down to the rank, and up again, from 0 on.
  func added(to name: String, inputs: Int, outputs: Int) -> (down: Parameter, up: Parameter)? {
    ranks[name].map { rank in
      (Parameter(name + ".down", [rank, inputs]), Parameter(name + ".up", TensorType([outputs, rank]), start: .zero))
    }
  }
}
