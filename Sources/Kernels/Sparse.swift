import CKernels

/// Which elements of a matrix are kept; the values are a tensor beside it. See `kiln/sparse.h`.
public final class SparsePattern: @unchecked Sendable {
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

  /// Memory for a pattern, to be filled; groups begin with the first places kept.
  public init(_ format: Format, rows: Int, columns: Int, count: Int) throws(KilnError) {
    self.format = format
    self.rows = rows
    self.columns = columns
    self.count = count
    switch format {
    case .blocks(let height, _):
      offsets = try Tensor(zeros: [(rows + height - 1) / height + 1], .int32)
      places = try Tensor(zeros: [count], .int32)
    case .groups(let kept, let group):
      guard kept > 0, group > 1, columns % group == 0, count == rows * (columns / group) * kept else {
        throw KilnError(.shape, "\(kept) kept of each \(group) do not fit \(rows) x \(columns)")
      }
      offsets = nil
      places = try Tensor(zeros: [rows, columns / group * kept], .uint8)
    }
  }

  /// Of the tensor of values.
  public var valuesShape: Shape { [count, area] }

  /// Elements of a block.
  public var area: Int { if case .blocks(let height, let width) = format { height * width } else { 1 } }

  /// The share of elements that are kept, as far as blocks do not hang over.
  public var density: Double { Double(count * area) / Double(max(rows * columns, 1)) }

  public var byteCount: Int { (offsets?.byteCount ?? 0) + places.byteCount }

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
}
