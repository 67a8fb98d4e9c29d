import KilnKernels

/// Element type and shape: all that is known of a tensor before it exists.
public struct TensorType: Sendable, Hashable, CustomStringConvertible {
  public var shape: Shape
  public var dtype: DType
  /// Where the elements belong that a sparse matrix keeps; `shape` is then that of its values.
  public var pattern: SparsePattern?

  public init(_ shape: Shape, _ dtype: DType = .float32, pattern: SparsePattern? = nil) {
    self.shape = shape
    self.dtype = dtype
    self.pattern = pattern
  }

  /// The values of a sparse matrix.
  public init(_ pattern: SparsePattern, _ dtype: DType = .float32) {
    self.init(pattern.valuesShape, dtype, pattern: pattern)
  }

  public static func scalar(_ dtype: DType = .float32) -> TensorType { TensorType([], dtype) }

  public var byteCount: Int { shape.count * dtype.size }
  public var description: String {
    "\(dtype.rawValue)\(shape)" + (pattern.map { " of \($0.rows) x \($0.columns)" } ?? "")
  }

  /// The same of elements of another type.
  public func of(_ dtype: DType) -> TensorType { TensorType(shape, dtype, pattern: pattern) }
}

/// A tensor that lives across steps under a name: a weight, an optimizer's state, a cache.
public struct Parameter: Sendable, Hashable {
  public enum Role: String, Sendable, Hashable {
    case weight, gradient, state, cache
  }

  /// A matrix that maps vectors to vectors, as opposed to a table; several may lie side by side in it, as those of
  /// queries, keys and values do.
  public struct Projection: Sendable {
    public var parts: Int
    /// They are blocks of columns, not of rows.
    public var splitsColumns: Bool
    /// Products take some of its elements only, chosen anew in each step; nil for all.
    public var mask: GroupMask?
    /// Its inputs have learned factors; nil for none.
    public var slimming: Slimming?

    public init(
      parts: Int = 1, splitsColumns: Bool = false, mask: GroupMask? = nil, slimming: Slimming? = nil
    ) {
      self.parts = parts
      self.splitsColumns = splitsColumns
      self.mask = mask
      self.slimming = slimming
    }
  }

  public let name: String
  public let type: TensorType
  public let role: Role
  /// For methods that treat projections in their own way; not part of what makes two parameters the same.
  public let projection: Projection?
  /// What its elements start with, where that is not as the model has it; not part of that either.
  public let start: Start?

  public enum Start: Sendable, Hashable {
    case zero
    /// So many times as far spread as the model has matrices.
    case wider(Double)
    case normal(std: Double)
  }

  public init(
    _ name: String, _ shape: Shape, _ dtype: DType = .float32, role: Role = .weight, projection: Projection? = nil
  ) {
    self.init(name, TensorType(shape, dtype), role: role, projection: projection)
  }

  public init(
    _ name: String, _ type: TensorType, role: Role = .weight, projection: Projection? = nil, start: Start? = nil
  ) {
    self.name = name
    self.type = type
    self.role = role
    self.projection = projection
    self.start = start
  }

  public static func == (a: Parameter, b: Parameter) -> Bool {
    a.name == b.name && a.type == b.type && a.role == b.role
  }

  public func hash(into hasher: inout Hasher) { hasher.combine(name) }

  public var shape: Shape { type.shape }

  /// The shape under which files have it: of a sparse one that of the whole matrix.
  public var denseShape: Shape {
    guard let pattern = type.pattern else { return shape }
    return projection?.splitsColumns == true ? [pattern.columns, pattern.rows] : [pattern.rows, pattern.columns]
  }

  /// The same of elements of another type.
  public func of(_ dtype: DType) -> Parameter {
    Parameter(name, type.of(dtype), role: role, projection: projection, start: start)
  }

  /// What products, evaluations and files take in its place: what an operation makes of it and of other parameters; nil
  /// for itself.
  public var form: (operation: any Operation, with: [Parameter])? {
    guard let projection else { return nil }
    if let slimming = projection.slimming, let factors {
      return (Slim(slimming, splitsColumns: projection.splitsColumns), [factors])
    }
    return projection.mask.map { (MaskGroups($0, splitsColumns: projection.splitsColumns), []) }
  }

  /// Which random numbers it takes, others for each name: FNV-1a.
  public var randomSite: UInt32 { name.utf8.reduce(2_166_136_261) { ($0 ^ UInt32($1)) &* 16_777_619 } }

  /// Weight decay applies to tensors of two and more dimensions only: never to biases and gains.
  public var decays: Bool { shape.rank >= 2 }
}

/// A handle on a value of a graph, which must outlive it: graphs hold the values of their nodes.
public struct Value: Hashable {
  public unowned let graph: Graph
  public let id: Int
  public let type: TensorType

  public var shape: Shape { type.shape }

  public static func == (a: Value, b: Value) -> Bool { a.id == b.id && a.graph === b.graph }
  public func hash(into hasher: inout Hasher) { hasher.combine(id) }
}
