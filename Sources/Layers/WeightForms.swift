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

  public static let dense = WeightForms()

  public init(patterns: SparsePatterns = [:], mask: GroupMask? = nil) {
    self.patterns = patterns
    self.mask = mask
  }

  /// The weight of a projection that is stored with this shape.
  func weight(_ name: String, _ shape: Shape, _ projection: Parameter.Projection) -> Parameter {
    var projection = projection
    projection.mask = mask
    guard let pattern = patterns[name] else { return Parameter(name, shape, projection: projection) }
    let weight = Parameter(name, TensorType(pattern), projection: projection)
    precondition(weight.denseShape == shape, "the pattern of \(name) is of another shape")
    return weight
  }
}
