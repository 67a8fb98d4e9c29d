// Matrix products of GPT-2 124M in 8 bits, and with weights in blocks of 8 and 4 bits. Quantising is not in the time.

import Harness
import Kiln

enum GemmNarrowFamily: Family {
  static let name = "gemm-narrow"

  static func cases(_ setup: Setup) -> [Case] {
    Numbers.all.flatMap { numbers in
      [256, 4096].flatMap { m in
        GemmFamily.weights.flatMap { n, k in numbers.operands.map { item(setup, numbers, $0, m, n, k) } }
      }
    }
  }

  private static func item(
    _ setup: Setup, _ numbers: Numbers, _ op: Product.Operand, _ m: Int, _ n: Int, _ k: Int
  ) -> Case {
    var item = Case(
      name, "\(op) \(n)x\(k) M=\(m) \(numbers.name)", Cost(flops: 2 * Double(m * n * k)), unit: numbers.unit,
      contenders: [
        KernelContender(on: setup.context) { try NarrowProduct(numbers, op, m: m, n: n, k: k, setup).kernel(setup) }
      ])
    if numbers.name == "int8" {
      item.work = Job(.gemm, op: op.rawValue, dtype: .int8) { ($0.m, $0.n, $0.k) = (m, n, k) }
    }
    item.total = "\(numbers.name) M=\(m)"
    return item
  }
}

/// How operands are narrowed.
struct Numbers {
  let name: String
  var operands = Product.Operand.allCases
  var unit = ComputeUnit.fma
  /// What stands for a matrix: its rows are those of the product that it is in, or its columns.
  let narrow: (_ x: Tensor, _ rows: Bool, _ setup: Setup) throws -> Narrow

  /// Codes, and what the product has to know of them.
  struct Narrow {
    var codes: Tensor
    var scales: Tensor?
    var blocks: WeightBlocks?
    /// The numbers that the codes mean.
    var values: Tensor
  }

  static var all: [Numbers] {
    [
      Numbers(name: "int8", unit: .dpbusd) { x, rows, setup in
        let codes = try Tensor(zeros: x.shape, .int8)
        let scales = try Tensor(zeros: rows ? [x.shape[0], 1] : [1, x.shape[1]])
        try setup.context.quantizeInt8(codes, scales: scales, x)
        let values = try Tensor(zeros: x.shape)
        try setup.context.dequantizeInt8(values, codes, scales: scales)
        return Narrow(codes: codes, scales: scales, values: values)
      },
      Numbers(name: "fp8") { x, _, setup in
        let codes = try Tensor(zeros: x.shape, .float8E4M3)
        try setup.context.cast(codes, x)
        let values = try Tensor(zeros: x.shape)
        try setup.context.cast(values, codes)
        return Narrow(codes: codes, values: values)
      },
      blocks("q8_0", .q8_0), blocks("q4_0", .q4_0), blocks("q4_1", .q4_1),
      Numbers(name: "nf4", operands: [.fwd, .dx]) { x, _, setup in
        let count = x.shape.count
        let tensors = NF4Tensors(
          codes: try Tensor(zeros: [count / 2], .uint8), absmax: try Tensor(zeros: [count / 64]))
        try setup.context.quantizeNF4(tensors, x)
        let values = try Tensor(zeros: x.shape)
        try setup.context.dequantizeNF4(values, tensors)
        let codes = tensors.codes.reshaped([x.shape[0], x.shape[1] / 2])
        return Narrow(codes: codes, blocks: .nf4(absmax: tensors.absmax), values: values)
      },
    ]
  }

  private static func blocks(_ name: String, _ format: BlockFormat) -> Numbers {
    Numbers(name: name, operands: [.fwd, .dx]) { x, _, setup in
      let codes = try Tensor(zeros: [x.shape[0], x.shape[1] / 32 * format.blockBytes], .uint8)
      try setup.context.quantizeBlocks(codes, x, format)
      let values = try Tensor(zeros: x.shape)
      try setup.context.dequantizeBlocks(values, codes, format)
      return Narrow(codes: codes, blocks: .gguf(format), values: values)
    }
  }
}

/// One of the three products of a linear layer; only the weight is in blocks.
struct NarrowProduct {
  private let op: Product.Operand
  private let a, b: Numbers.Narrow
  private let c: Tensor
  private var options = Context.GemmOptions()

  init(_ numbers: Numbers, _ op: Product.Operand, m: Int, n: Int, k: Int, _ setup: Setup) throws {
    self.op = op
    let x = try setup.normal(op == .fwd ? [m, k] : [m, n], site: 1)
    let y = try setup.normal(op == .dw ? [m, k] : [n, k], site: 2)
    b = try numbers.narrow(y, op == .fwd, setup)
    a = b.blocks == nil ? try numbers.narrow(x, op != .dw, setup) : Numbers.Narrow(codes: x, values: x)
    c = try Tensor(zeros: op == .fwd ? [m, n] : op == .dx ? [m, k] : [n, k])
    options.transposeA = op == .dw
    options.transposeB = op == .fwd
    (options.scalesOfA, options.scalesOfB, options.blocksOfB) = (a.scales, b.scales, b.blocks)
  }

  private func run(_ setup: Setup) throws(KilnError) { try setup.context.gemm(c, a.codes, b.codes, options) }

  /// The first and the last two rows, by the reference on the numbers that the codes mean.
  private func check(_ setup: Setup) throws {
    var plain = Context.GemmOptions()
    (plain.transposeA, plain.transposeB) = (options.transposeA, options.transposeB)
    for range in [0..<2, c.shape[0] - 2..<c.shape[0]] {
      let expected = try Tensor(zeros: [range.count, c.shape[1]])
      try setup.reference.gemm(expected, try setup.exact(a.values.slice(op == .dw ? 1 : 0, range)), b.values, plain)
      try setup.expect(c.slice(0, range), expected, "\(op)", within: 2e-5)
    }
  }

  func kernel(_ setup: Setup) throws -> Kernel {
    Kernel(
      extraBytes: try setup.context.measuringWorkspace { () throws(KilnError) in try run(setup) },
      run: { try run(setup) }, check: { try check(setup) })
  }
}
