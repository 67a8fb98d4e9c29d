// Products with sparse weights of GPT-2 124M, beside the dense products: one case has all three of a layer, for all four
// of its matrices, at several shares.

import Harness
import Kiln

enum SparseFamily: Family {
  static let name = "sparse"

  static func cases(_ setup: Setup) -> [Case] {
    let blocks: [SparsePattern.Format] = [(16, 16), (4, 16), (64, 64)].map { .blocks(rows: $0.0, columns: $0.1) }
    let formats: [(SparsePattern.Format, [Double])] =
      blocks.map { ($0, [0.5, 0.25, 0.1]) } + [
        (.blocks(rows: 1, columns: 1), [0.2, 0.1, 0.05]), (.groups(kept: 2, of: 4), [0.5]),
        (.groups(kept: 1, of: 4), [0.25]), (.groups(kept: 4, of: 8), [0.5]),
      ]
    return [Job.DType.float32, .bfloat16].flatMap { dtype in
      formats.map { item(setup, $0.0, densities: $0.1, m: 4096, dtype) }
    }
  }

  private static func item(
    _ setup: Setup, _ format: SparsePattern.Format, densities: [Double], m: Int, _ dtype: Job.DType
  ) -> Case {
    let weights = GemmFamily.weights.dropLast()
    func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }
    var item = Case(
      name, "\(label(format)), M=\(m) \(dtype.label)", Cost(), unit: dtype.unit,
      contenders: densities.map { density in
        KernelContender("\(percent(density)) kept", on: setup.context) {
          let products = try weights.map { try SparseProducts(format, density: density, m: m, $0, dtype, setup) }
          return Kernel(
            run: { for product in products { try product.run(setup) } },
            check: { for product in products { try product.check(setup) } })
        }
      } + [
        KernelContender("dense", on: setup.context) {
          let products = try weights.flatMap { n, k in
            try Product.Operand.allCases.map { try Product($0, m: m, n: n, k: k, dtype, setup) }
          }
          return Kernel(run: { for product in products { try product.run(setup) } }, check: {})
        }
      ])
    item.figures = { result in
      let seconds = result.contenders.compactMap { $0.seconds?.median }
      guard seconds.count == densities.count + 1, let dense = seconds.last else { return [] }
      let faster = zip(densities, seconds).map { Figure("\(percent($0)) over dense", dense / $1, "x") }
      return faster + (breakEven(densities, seconds, dense).map { [Figure("break-even", 100 * $0, "% kept")] } ?? [])
    }
    return item
  }

  /// The share at which a line through the times meets that of the dense products, at most 1; nil for a single time.
  private static func breakEven(_ densities: [Double], _ seconds: [Double], _ dense: Double) -> Double? {
    let points = Array(zip(densities, seconds))
    let count = Double(points.count)
    guard count > 1 else { return nil }
    let (x, y) = (points.reduce(0) { $0 + $1.0 } / count, points.reduce(0) { $0 + $1.1 } / count)
    let slope = points.reduce(0) { $0 + ($1.0 - x) * ($1.1 - y) } / points.reduce(0) { $0 + ($1.0 - x) * ($1.0 - x) }
    return min(1, x + (dense - y) / slope)
  }

  private static func label(_ format: SparsePattern.Format) -> String {
    switch format {
    case .blocks(1, 1): "elements"
    case .blocks(let height, let width): "blocks of \(height) x \(width)"
    case .groups(let kept, let group): "\(kept):\(group)"
    }
  }
}

/// The three products of a layer whose weight [n, k] is sparse.
private struct SparseProducts {
  private let pattern: SparsePattern
  private let x, dy, values, y, dx, dvalues: Tensor
  private let dtype: Job.DType

  init(
    _ format: SparsePattern.Format, density: Double, m: Int, _ shape: (n: Int, k: Int), _ dtype: Job.DType,
    _ setup: Setup
  ) throws {
    let (n, k) = shape
    self.dtype = dtype
    pattern = try Self.random(format, density: density, n, k)
    x = try setup.normal([m, k], dtype, site: 1)
    dy = try setup.normal([m, n], dtype, site: 3)
    values = try setup.normal(pattern.valuesShape, dtype, site: 2)
    y = try Tensor(zeros: [m, n], dtype.storage)
    dx = try Tensor(zeros: [m, k], dtype.storage)
    dvalues = try Tensor(zeros: pattern.valuesShape)
  }

  /// Kept elements at random places, the same in every run.
  private static func random(
    _ format: SparsePattern.Format, density: Double, _ n: Int, _ k: Int
  ) throws -> SparsePattern {
    var numbers = RepeatableNumbers()
    func next() -> Double { Double(numbers.next() >> 11) / 0x1p53 }
    switch format {
    case .groups(let kept, let group):
      let pattern = try SparsePattern(format, rows: n, columns: k, count: n * k / group * kept)
      let places = (0..<n * k / group).flatMap { _ in
        (0..<group).map { (next(), UInt8($0)) }.sorted { $0.0 < $1.0 }.prefix(kept).map(\.1).sorted()
      }
      pattern.places.copy(from: places)
      return pattern
    case .blocks(let height, let width):
      var (offsets, columns): ([Int32], [Int32]) = ([0], [])
      for _ in 0..<(n + height - 1) / height {
        columns += (0..<Int32((k + width - 1) / width)).filter { _ in next() < density }
        offsets.append(Int32(columns.count))
      }
      let pattern = try SparsePattern(format, rows: n, columns: k, count: columns.count)
      pattern.offsets?.copy(from: offsets)
      pattern.places.copy(from: columns)
      return pattern
    }
  }

  func run(_ setup: Setup) throws {
    var options = Context.GemmOptions()
    options.patternOfB = pattern
    try setup.context.gemm(dx, dy, values, options)
    options.transposeB = true
    try setup.context.gemm(y, x, values, options)
    try setup.context.sparseGradient(dvalues, dy, x, pattern)
  }

  /// The first and the last two rows beside the reference's on the dense matrix, and the gradient's beside the dense one.
  func check(_ setup: Setup) throws {
    let dense = try Tensor(zeros: [pattern.rows, pattern.columns], dtype.storage)
    try setup.context.scatter(dense, from: values, pattern)
    for range in [0..<2, x.shape[0] - 2..<x.shape[0]] {
      for (result, a, isForward) in [(y, x, true), (dx, dy, false)] {
        var options = Context.GemmOptions()
        options.transposeB = isForward
        let expected = try Tensor(zeros: [2, result.shape[1]])
        try setup.reference.gemm(expected, try setup.exact(a.slice(0, range)), try setup.exact(dense), options)
        try setup.expect(result.slice(0, range), expected, "sparse", within: dtype.tolerance)
      }
    }
    var options = Context.GemmOptions()
    options.transposeA = true
    let (full, expected) = (try Tensor(zeros: [pattern.rows, pattern.columns]), try Tensor(zeros: pattern.valuesShape))
    try setup.context.gemm(full, dy, x, options)
    try setup.context.gather(expected, from: full, pattern)
    try setup.expect(dvalues, expected, "sparse gradient", within: dtype.tolerance)
  }
}
