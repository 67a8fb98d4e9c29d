import CKernels

/// Which elements of a matrix are kept; the values are a tensor beside it. See `kiln/sparse.h`.
///
/// Two patterns are the same only if they are one object, since what they keep may change.
public final class SparsePattern: @unchecked Sendable, Hashable {
  public enum Format: Sendable, Hashable {
    /// Whole blocks of so many rows and columns; 1 x 1 for single elements.
    case blocks(rows: Int, columns: Int)
    /// N of each M elements along a row.
    case groups(kept: Int, of: Int)
  }

  public let format: Format
  /// Of the whole matrix, outputs by inputs.
  public let rows, columns: Int
  /// Blocks, or single elements, that are kept.
  public let count: Int
  /// Int32 [row blocks + 1]: where each row of blocks begins; nil for groups.
  public let offsets: Tensor?
  /// Int32 [count]: each block's column, in blocks; for groups uint8: places.
  public let places: Tensor
  /// The part of it that products take, where that is not all.
  public let active: SparsePattern?
  /// With an active part: what pulls values towards 0, as a gradient of so many times the weight in that part, and of so
  /// many divided by its share of the whole matrix beyond it.
  public var decay = 0.0
  /// Of a part: what it is a part of, where gradients go to.
  public private(set) unowned(unsafe) var whole: SparsePattern?

  /// Memory for a pattern, to be filled; until then the first places are kept.
  /// - Parameter active: how many of them products take; nil for all.
  public init(_ format: Format, rows: Int, columns: Int, count: Int, active: Int? = nil) throws(KilnError) {
    self.active = try active.map { (count) throws(KilnError) in
      try SparsePattern(format, rows: rows, columns: columns, count: count)
    }
    self.format = format
    self.rows = rows
    self.columns = columns
    self.count = count
    switch format {
    case .blocks(let height, let width):
      let blocks = format.blocks(rows: rows, columns: columns)
      guard height > 0, width > 0, (0...blocks.rows * blocks.columns).contains(count) else {
        throw KilnError(.shape, "\(count) blocks of \(format) do not fit \(rows) x \(columns)")
      }
      offsets = try Tensor(zeros: [blocks.rows + 1], .int32)
      places = try Tensor(zeros: [count], .int32)
      keep(Array(0..<count))
    case .groups(let kept, let group):
      guard kept > 0, kept <= group, (2...256).contains(group), columns % group == 0,
        count == rows * (columns / group) * kept
      else {
        throw KilnError(.shape, "\(kept) kept of each \(group) do not fit \(rows) x \(columns)")
      }
      offsets = nil
      places = try Tensor(zeros: [rows, columns / group * kept], .uint8)
      places.copy(from: (0..<count).map { UInt8($0 % kept) })
    }
    self.active?.whole = self
  }

  /// Of the tensor of values.
  public var valuesShape: Shape { [count, format.area] }

  /// The share of elements that are kept, as far as blocks do not hang over.
  public var density: Double { Double(count * format.area) / Double(max(rows * columns, 1)) }

  public var byteCount: Int { (offsets?.byteCount ?? 0) + places.byteCount + (active?.byteCount ?? 0) }

  public static func == (a: SparsePattern, b: SparsePattern) -> Bool { a === b }
  public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }

  /// How many rows and columns of blocks there are, those that hang over the edges included.
  public var blocks: (rows: Int, columns: Int) { format.blocks(rows: rows, columns: columns) }

  /// The places of the blocks, or single elements, that are kept: row by row, ascending.
  public var kept: [Int] {
    switch format {
    case .blocks:
      let (starts, columns) = (offsets?.integers() ?? [], places.integers())
      return zip(starts, starts.dropFirst()).enumerated().flatMap { row, range in
        columns[Int(range.0)..<Int(range.1)].map { row * blocks.columns + Int($0) }
      }
    case .groups(let kept, let group):
      return places.withBytes { $0.enumerated().map { $0 / kept * group + Int($1) } }
    }
  }

  /// Keeps other blocks, as many as before, given as `kept` tells them.
  public func keep(_ kept: [Int]) {
    precondition(kept.count == count)
    switch format {
    case .blocks:
      let width = max(blocks.columns, 1)
      var starts = [Int32](repeating: 0, count: blocks.rows + 1)
      for place in kept { starts[place / width + 1] += 1 }
      for row in 0..<blocks.rows { starts[row + 1] += starts[row] }
      offsets?.copy(from: starts)
      places.copy(from: kept.map { Int32($0 % width) })
    case .groups(_, let group): places.copy(from: kept.map { UInt8($0 % group) })
    }
  }

  /// Whether what has been put into its tensors is a pattern: places in range, ascending in each row.
  public var isValid: Bool {
    switch format {
    case .blocks:
      let (starts, columns) = (offsets?.integers() ?? [], places.integers())
      guard starts.first == 0, starts.last.map(Int.init) == count, zip(starts, starts.dropFirst()).allSatisfy(<=) else {
        return false
      }
      let bound = blocks.columns
      return zip(starts, starts.dropFirst()).allSatisfy { Self.ascend(columns[Int($0)..<Int($1)], below: bound) }
    case .groups(let kept, let group):
      let places = places.withBytes { $0.map { Int32($0) } }
      return stride(from: 0, to: count, by: kept).allSatisfy { Self.ascend(places[$0..<$0 + kept], below: group) }
    }
  }

  private static func ascend(_ places: ArraySlice<Int32>, below bound: Int) -> Bool {
    zip(places, places.dropFirst()).allSatisfy(<)
      && places.first.map { $0 >= 0 } ?? true && places.last.map { $0 < Int32(bound) } ?? true
  }

  /// Whether another has the same content.
  public func keepsTheSame(as other: SparsePattern?) -> Bool {
    guard let other, other.format == format, (other.rows, other.columns, other.count) == (rows, columns, count) else {
      return false
    }
    return zip(tensors, other.tensors).allSatisfy { a, b in a.withBytes { a in b.withBytes(a.elementsEqual) } }
  }

  private var tensors: [Tensor] { [offsets, places].compactMap { $0 } }

  /// Another with the same content.
  public func copy() throws(KilnError) -> SparsePattern {
    let copy = try SparsePattern(format, rows: rows, columns: columns, count: count, active: active?.count)
    copy.keep(kept)
    if let active { copy.active?.keep(active.kept) }
    copy.decay = decay
    return copy
  }

  /// Calls with the pattern as C takes it.
  func withView<R>(_ body: (UnsafePointer<kiln_sparse>) -> R) -> R {
    let views = [offsets?.view ?? kiln_tensor(), places.view]
    return views.withUnsafeBufferPointer { views in
      var sparse = kiln_sparse_defaults()
      (sparse.rows, sparse.cols) = (Int64(rows), Int64(columns))
      switch format {
      case .blocks(let height, let width):
        (sparse.block_rows, sparse.block_cols) = (UInt32(height), UInt32(width))
        sparse.offsets = views.baseAddress!
      case .groups(let kept, let group): (sparse.kept, sparse.group) = (UInt32(kept), UInt32(group))
      }
      sparse.columns = views.baseAddress! + 1
      return withUnsafePointer(to: sparse, body)
    }
  }
}

extension Sequence<SparsePattern> {
  /// Elements that are kept of all matrices together, as far as blocks do not hang over.
  public var keptCount: Int { reduce(0) { $0 + $1.valuesShape.count } }

  /// Their share.
  public var density: Double { Double(keptCount) / Double(Swift.max(reduce(0) { $0 + $1.rows * $1.columns }, 1)) }
}

extension SparsePattern.Format {
  /// What is kept or not as a whole: rows and columns of a block.
  public var block: (rows: Int, columns: Int) {
    if case .blocks(let rows, let columns) = self { (rows, columns) } else { (1, 1) }
  }

  /// Elements of a block.
  public var area: Int { block.rows * block.columns }

  /// How many blocks a matrix has, those that hang over its edges included.
  public func blocks(rows: Int, columns: Int) -> (rows: Int, columns: Int) {
    ((rows + block.rows - 1) / block.rows, (columns + block.columns - 1) / block.columns)
  }
}

/// As in `16x16` and `2:4`.
extension SparsePattern.Format: LosslessStringConvertible {
  public init?(_ text: String) {
    func numbers(_ separator: Character) -> (Int, Int)? {
      let parts = text.split(separator: separator, omittingEmptySubsequences: false).map { Int($0) }
      guard parts.count == 2, let first = parts[0], let second = parts[1] else { return nil }
      return (first, second)
    }
    if let (rows, columns) = numbers("x"), (1...256).contains(rows), (1...256).contains(columns) {
      self = .blocks(rows: rows, columns: columns)
    } else if let (kept, group) = numbers(":"), (2...256).contains(group), (1..<group).contains(kept) {
      self = .groups(kept: kept, of: group)
    } else {
      return nil
    }
  }

  public var description: String {
    switch self {
    case .blocks(let rows, let columns): "\(rows)x\(columns)"
    case .groups(let kept, let group): "\(kept):\(group)"
    }
  }
}

extension Context {
  /// dvalues = dy^T x where the pattern keeps it; see `kiln_sparse_gradient`.
  public func sparseGradient(
    _ dvalues: Tensor, _ dy: Tensor, _ x: Tensor, _ pattern: SparsePattern, accumulate: Bool = false
  ) throws(KilnError) {
    try call(dvalues, dy, x) { p in
      var o = kiln_sparse_gradient_defaults()
      o.accumulate = accumulate ? 1 : 0
      return pattern.withView { kiln_sparse_gradient(handle, p[0], p[1], p[2], $0, &o) }
    }
  }

  /// values = the kept elements of a dense matrix; see `kiln_sparse_gather`.
  public func gather(_ values: Tensor, from dense: Tensor, _ pattern: SparsePattern) throws(KilnError) {
    try call(values, dense) { p in pattern.withView { kiln_sparse_gather(handle, p[0], p[1], $0) } }
  }

  /// dense = the values where they are kept, 0 elsewhere; see `kiln_sparse_scatter`.
  public func scatter(_ dense: Tensor, from values: Tensor, _ pattern: SparsePattern) throws(KilnError) {
    try call(dense, values) { p in pattern.withView { kiln_sparse_scatter(handle, p[0], p[1], $0) } }
  }

  /// norms = the Frobenius norm of each block of a matrix; see `kiln_block_norms`.
  public func blockNorms(_ norms: Tensor, of x: Tensor, block: (rows: Int, columns: Int)) throws(KilnError) {
    try call(norms, x) { p in kiln_block_norms(handle, p[0], p[1], Int32(block.rows), Int32(block.columns)) }
  }

  /// y = the largest N of each M of x along a row; see `kiln_mask_groups`.
  public func maskGroups(_ y: Tensor, _ x: Tensor, kept: Int, of group: Int) throws(KilnError) {
    try call(y, x) { p in kiln_mask_groups(handle, p[0], p[1], Int32(kept), Int32(group)) }
  }

  /// dx = dy, plus decay x where x is masked; see `kiln_mask_groups_backward`.
  public func maskGroupsBackward(
    _ dx: Tensor, _ dy: Tensor, _ x: Tensor, kept: Int, of group: Int, decay: Double
  ) throws(KilnError) {
    try call(dx, dy, x) { p in
      kiln_mask_groups_backward(handle, p[0], p[1], p[2], Int32(kept), Int32(group), decay)
    }
  }

  /// y = x with each column times the factor of its group; see `kiln_slim`.
  public func slim(_ y: Tensor, _ x: Tensor, factors: Tensor) throws(KilnError) {
    try call(y, x, factors) { p in kiln_slim(handle, p[0], p[1], p[2]) }
  }

  /// dx and the gradient of the factors, with what pulls them towards 0; see `kiln_slim_backward`.
  public func slimBackward(
    _ dx: Tensor, dFactors: Tensor, _ dy: Tensor, _ x: Tensor, factors: Tensor, penalty: Double
  ) throws(KilnError) {
    try call(dx, dFactors, dy, x, factors) { p in
      kiln_slim_backward(handle, p[0], p[1], p[2], p[3], p[4], penalty)
    }
  }

  /// dy += inside x where the active part of a pattern keeps it, beyond x elsewhere; see `kiln_sparse_decay`.
  public func decay(
    _ dy: Tensor, _ x: Tensor, _ pattern: SparsePattern, inside: Double, beyond: Double
  ) throws(KilnError) {
    guard let active = pattern.active else { preconditionFailure("a pattern without an active part") }
    try call(dy, x) { p in
      pattern.withView { whole in
        active.withView { kiln_sparse_decay(handle, p[0], p[1], whole, $0, inside, beyond) }
      }
    }
  }

  /// dense = the values where they are kept; the rest stays; see `kiln_sparse_insert`.
  public func insert(_ values: Tensor, into dense: Tensor, _ pattern: SparsePattern) throws(KilnError) {
    try call(dense, values) { p in pattern.withView { kiln_sparse_insert(handle, p[0], p[1], $0) } }
  }

  /// y, values of pattern `new`, = x, values of pattern `old`; see `kiln_sparse_move`.
  public func move(
    _ y: Tensor, _ new: SparsePattern, from x: Tensor, _ old: SparsePattern
  ) throws(KilnError) {
    try call(y, x) { p in
      old.withView { old in new.withView { kiln_sparse_move(handle, p[0], $0, p[1], old) } }
    }
  }
}
