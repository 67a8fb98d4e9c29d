// Matrix products at the shapes of GPT-2 124M, the square that others measure, and the skinny ones of generation.

import Harness
import Kiln

enum GemmFamily: Family {
  static let name = "gemm"

  /// Weights [n, k] of GPT-2 124M: attention in and out, feed-forward in and out, output projection (padded).
  static let weights = [(2304, 768), (768, 768), (3072, 768), (768, 3072), (50304, 768)]

  static func cases(_ setup: Setup) -> [Case] {
    Job.DType.floats.flatMap { dtype in
      [256, 4096].flatMap { m in
        weights.flatMap { n, k in Product.Operand.allCases.map { large(setup, $0, m, n, k, dtype) } }
      } + [large(setup, .fwd, 1024, 1024, 1024, dtype)] + skinny(setup, dtype)
    }
  }

  /// y = x w^T, dx = dy w or dw = dy^T x for a batch of m rows.
  private static func large(
    _ setup: Setup, _ op: Product.Operand, _ m: Int, _ n: Int, _ k: Int, _ dtype: Job.DType
  ) -> Case {
    var item = Case(
      name, "\(op) \(n)x\(k) M=\(m) \(dtype.label)", Cost(flops: 2 * Double(m * n * k)), unit: dtype.unit,
      work: Job(.gemm, op: op.rawValue, dtype: dtype) { ($0.m, $0.n, $0.k) = (m, n, k) },
      contenders: [KernelContender(on: setup.context) { try Product(op, m: m, n: n, k: k, dtype, setup).kernel(setup) }]
    )
    item.total = "gemm \(dtype.label) M=\(m)"
    return item
  }

  /// A few rows against weights that come from memory, in both layouts.
  private static func skinny(_ setup: Setup, _ dtype: Job.DType) -> [Case] {
    [1, 4, 16].flatMap { m in
      [(3072, 768, "nk"), (3072, 768, "kn"), (50304, 768, "nk")].map { n, k, layout in
        let bytes = n * k * dtype.size
        let copies = setup.copies(of: bytes, .cold)
        var item = Case(
          name, "M=\(m) weights \(layout) \(n)x\(k) \(dtype.label) cold",
          Cost(flops: 2 * Double(m * n * k), bytes: Double(bytes + (n + k) * m * dtype.size)), unit: dtype.unit,
          contenders: [
            KernelContender(on: setup.context) {
              let products = try (0..<copies).map { _ in
                try Product(.fwd, m: m, n: n, k: k, dtype, setup, weightIsKN: layout == "kn")
              }
              return Kernel(
                copies: copies, run: { for product in products { try product.run(setup) } },
                check: { try products[0].check(setup) })
            }
          ])
        if n * k * dtype.size > setup.coldBytes {
          item.work = Job(.gemm, op: "fwd", dtype: dtype) { ($0.m, $0.n, $0.k) = (m, n, k) }
        }
        return item
      }
    }
  }
}

/// One of the three products of a linear layer, with its operands.
struct Product {
  enum Operand: String, CaseIterable { case fwd, dx, dw }

  private let op: Operand
  private let dtype: Job.DType
  private let a, b, c: Tensor
  private let options: Context.GemmOptions

  init(
    _ op: Operand, m: Int, n: Int, k: Int, _ dtype: Job.DType, _ setup: Setup, weightIsKN: Bool = false
  ) throws {
    self.op = op
    self.dtype = dtype
    var options = Context.GemmOptions()
    let result: Shape
    switch op {
    case .fwd:
      options.transposeB = !weightIsKN
      a = try setup.normal([m, k], dtype, site: 1)
      b = try setup.normal(weightIsKN ? [k, n] : [n, k], dtype, site: 2)
      result = [m, n]
    case .dx:
      a = try setup.normal([m, n], dtype, site: 3)
      b = try setup.normal([n, k], dtype, site: 2)
      result = [m, k]
    case .dw:
      options.transposeA = true
      a = try setup.normal([m, n], dtype, site: 3)
      b = try setup.normal([m, k], dtype, site: 1)
      result = [n, k]
    }
    self.options = options
    c = try setup.zeros(result, op == .dw ? .float32 : dtype.storage)
  }

  func run(_ setup: Setup) throws { try setup.context.gemm(c, a, b, options) }

  /// The first and the last two rows of the result, by the reference.
  func check(_ setup: Setup) throws {
    let rows = c.shape[0]
    for range in [0..<min(2, rows), max(0, rows - 2)..<rows] {
      let part = a.slice(op == .dw ? 1 : 0, range)
      let expected = try Tensor(zeros: [range.count, c.shape[1]])
      try setup.reference.gemm(expected, try setup.exact(part), try setup.exact(b), options)
      try setup.expect(c.slice(0, range), expected, "\(op)", within: dtype.tolerance)
    }
  }

  func kernel(_ setup: Setup) throws -> Kernel {
    Kernel(
      extraBytes: try setup.context.measuringWorkspace { () throws(KilnError) in
        try setup.context.gemm(c, a, b, options)
      },
      run: { try run(setup) }, check: { try check(setup) })
  }
}
