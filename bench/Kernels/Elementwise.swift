// What is left between the families: sums, conversions, rotary and token embedding. All of it is memory traffic.

import Harness
import Kiln

enum ElementwiseFamily: Family {
  static let name = "elementwise"
  private static let (rows, channels, vocabulary, heads) = (4096, 768, 50257, 12)

  static func cases(_ setup: Setup) -> [Case] {
    let element = rows * channels
    return Job.DType.floats.flatMap { dtype in
      [
        item(setup, "add", bytes: 3 * element * dtype.size, dtype) { try add(setup, dtype) },
        item(setup, "rope", bytes: 2 * element * dtype.size, dtype) { try rope(setup, dtype) },
        item(setup, "embedding", bytes: 2 * element * dtype.size, dtype) { try embedding(setup, dtype) },
        item(setup, "embedding gradient", bytes: element * dtype.size + vocabulary * channels * 4, dtype) {
          try embeddingGradient(setup, dtype)
        },
      ]
    } + [
      item(setup, "copy fp32 to bf16", bytes: element * 6, .bfloat16) { try copy(setup) },
      item(setup, "sum of squares", bytes: element * 4, .float32) { try sumSquares(setup) },
    ]
  }

  /// One step of one set of operands, and its check.
  private typealias Step = (run: () throws -> Void, check: () throws -> Void)

  private static func item(
    _ setup: Setup, _ what: String, bytes: Int, _ dtype: Job.DType, _ make: @escaping () throws -> Step
  ) -> Case {
    Case(
      name, "\(what) \(rows)x\(channels) \(dtype.label)", Cost(bytes: Double(bytes)),
      contenders: [
        KernelContender(on: setup.context) {
          let copies = setup.copies(of: bytes, .cold)
          let sets = try (0..<copies).map { _ in try make() }
          return Kernel(copies: copies, run: { for set in sets { try set.run() } }, check: sets[0].check)
        }
      ])
  }

  private static func add(_ setup: Setup, _ dtype: Job.DType) throws -> Step {
    let (a, b) = (
      try setup.normal([rows, channels], dtype, site: 1), try setup.normal([rows, channels], dtype, site: 2)
    )
    let y = try setup.zeros(a.shape, dtype.storage)
    return (
      { try setup.context.add(y, a, b) },
      {
        let exact = try Tensor(zeros: a.shape)
        try setup.reference.add(exact, try setup.exact(a), try setup.exact(b))
        try setup.expect(y, exact, "y", within: dtype.tolerance)
      }
    )
  }

  private static func rope(_ setup: Setup, _ dtype: Job.DType) throws -> Step {
    let shape: Shape = [4, rows / 4, heads, channels / heads]
    let x = try setup.normal(shape, dtype, site: 1)
    let y = try setup.zeros(shape, dtype.storage)
    let positions = try setup.integers((0..<Int32(rows / 4)).map { $0 }, [rows / 4])
    return (
      { try setup.context.rope(y, x, positions: positions, RotaryFrequencies()) },
      {
        let exact = try Tensor(zeros: shape)
        try setup.reference.rope(exact, try setup.exact(x), positions: try setup.onHost(positions), RotaryFrequencies())
        try setup.expect(y, exact, "y", within: dtype.tolerance)
      }
    )
  }

  private static func embedding(_ setup: Setup, _ dtype: Job.DType) throws -> Step {
    let table = try setup.normal([vocabulary, channels], dtype, site: 1)
    let y = try setup.zeros([rows, channels], dtype.storage)
    let ids = try setup.tokens([rows], below: vocabulary)
    return (
      { try setup.context.embedding(y, table: table, ids: ids) },
      {
        let exact = try Tensor(zeros: y.shape)
        try setup.reference.embedding(exact, table: try setup.exact(table), ids: try setup.onHost(ids))
        try setup.expect(y, exact, "y", within: 0)
      }
    )
  }

  private static func embeddingGradient(_ setup: Setup, _ dtype: Job.DType) throws -> Step {
    let dtable = try setup.zeros([vocabulary, channels])
    let dy = try setup.normal([rows, channels], dtype, site: 2)
    let ids = try setup.tokens([rows], below: vocabulary)
    return (
      { try setup.context.embeddingBackward(dtable, dy, ids: ids) },
      {
        let exact = try Tensor(zeros: dtable.shape)
        try setup.reference.embeddingBackward(exact, try setup.exact(dy), ids: try setup.onHost(ids))
        try setup.expect(dtable, exact, "dtable", within: dtype.tolerance)
      }
    )
  }

  private static func copy(_ setup: Setup) throws -> Step {
    let x = try setup.normal([rows, channels], site: 1)
    let y = try setup.zeros(x.shape, .bfloat16)
    return ({ try setup.context.copy(y, x) }, { try setup.expect(y, x, "y", within: 0x1p-8) })
  }

  private static func sumSquares(_ setup: Setup) throws -> Step {
    let x = try setup.normal([rows, channels], site: 1)
    let sum = try setup.zeros([], .float64)
    return (
      { try setup.context.sumSquares(sum, x) },
      {
        let exact = try Tensor(zeros: [], .float64)
        try setup.reference.sumSquares(exact, try setup.exact(x))
        try setup.expect(sum, exact, "the sum", within: 1e-6)
      }
    )
  }
}
