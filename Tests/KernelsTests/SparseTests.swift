import CKernels
import KilnTestSupport
import Testing

/// Products with sparse weights, their gradients where they are kept, and the way between them and dense matrices.
struct SparseTests {
  /// A pattern made up from a seed.
  final class Pattern: @unchecked Sendable {
    let rows, cols, blockRows, blockCols, kept, group: Int
    let offsets: Elements<Int32>
    let columns: Elements<Int32>
    let places: Elements<UInt8>
    let count: Int

    /// Each block with the given probability.
    init(_ rows: Int, _ cols: Int, blocks: (Int, Int), density: Double, seed: UInt64 = 1) {
      (self.rows, self.cols, blockRows, blockCols, kept, group) = (rows, cols, blocks.0, blocks.1, 0, 0)
      let (high, wide) = ((rows + blocks.0 - 1) / blocks.0, (cols + blocks.1 - 1) / blocks.1)
      let chance = pseudoRandom(high * wide, seed: seed)
      var (starts, found): ([Int32], [Int32]) = ([0], [])
      for row in 0..<high {
        found += (0..<wide).filter { (chance[row * wide + $0] + 1) / 2 < density }.map(Int32.init)
        starts.append(Int32(found.count))
      }
      count = found.count
      offsets = Elements(starts, guardedBy: -7)
      columns = Elements(found, guardedBy: -7)
      places = Elements([], guardedBy: 7)
    }

    init(_ rows: Int, _ cols: Int, kept: Int, of group: Int, seed: UInt64 = 1) {
      (self.rows, self.cols, blockRows, blockCols, self.kept, self.group) = (rows, cols, 1, 1, kept, group)
      let groups = rows * cols / group
      let chance = pseudoRandom(groups * group, seed: seed)
      let chosen = (0..<groups).flatMap { g in
        (0..<group).sorted { chance[g * group + $0] < chance[g * group + $1] }.prefix(kept).sorted().map(UInt8.init)
      }
      count = chosen.count
      places = Elements(chosen, guardedBy: 7)
      (offsets, columns) = (Elements([], guardedBy: -7), Elements([], guardedBy: -7))
    }

    var valuesShape: [Int] { [count, blockRows * blockCols] }

    private init(_ other: Pattern, columns: [Int32]) {
      (rows, cols, blockRows, blockCols) = (other.rows, other.cols, other.blockRows, other.blockCols)
      (kept, group, count) = (0, 0, other.count)
      offsets = Elements(other.offsets.values, guardedBy: -7)
      self.columns = Elements(columns, guardedBy: -7)
      places = Elements([], guardedBy: 7)
    }

    /// The same blocks counted from the right.
    var mirrored: Pattern {
      let last = Int32((cols + blockCols - 1) / blockCols - 1)
      let starts = offsets.values.map(Int.init)
      return Pattern(
        self,
        columns: zip(starts, starts.dropFirst()).flatMap { first, end in
          columns.values[first..<end].reversed().map { last - $0 }
        })
    }

    func withView<R>(_ body: (UnsafePointer<kiln_sparse>) -> R) -> R {
      let starts = offsets.view(KILN_I32, [(rows + blockRows - 1) / blockRows + 1])
      let where_ =
        kept > 0 ? places.view(KILN_U8, [rows, cols / group * kept]) : columns.view(KILN_I32, [count])
      return withPointers([starts, where_]) { p in
        var w = kiln_sparse_defaults()
        (w.rows, w.cols) = (Int64(rows), Int64(cols))
        (w.kept, w.group) = (UInt32(kept), UInt32(group))
        (w.block_rows, w.block_cols) = (UInt32(blockRows), UInt32(blockCols))
        w.offsets = kept > 0 ? nil : p[0]
        w.columns = p[1]
        return withUnsafePointer(to: w, body)
      }
    }
  }

  static let patterns: [Pattern] = [
    Pattern(24, 40, blocks: (1, 1), density: 0.2), Pattern(33, 29, blocks: (1, 1), density: 0.5, seed: 2),
    Pattern(32, 64, blocks: (4, 16), density: 0.4), Pattern(48, 48, blocks: (16, 16), density: 0.5),
    Pattern(130, 200, blocks: (64, 64), density: 0.6), Pattern(48, 80, blocks: (16, 5), density: 0.5),
    Pattern(70, 100, blocks: (32, 48), density: 0.7), Pattern(70, 50, blocks: (16, 32), density: 0.5),
    Pattern(19, 23, blocks: (3, 5), density: 0.5), Pattern(40, 300, blocks: (8, 4), density: 0.3),
    Pattern(8, 8, blocks: (4, 4), density: 0), Pattern(300, 20, blocks: (1, 1), density: 1),
    Pattern(24, 40, kept: 2, of: 4), Pattern(17, 64, kept: 1, of: 4), Pattern(12, 208, kept: 4, of: 8),
    Pattern(20, 32, kept: 16, of: 16),
  ]

  private func product(
    _ pattern: Pattern, m: Int, transposed: Bool, _ label: String = "",
    options: @escaping (inout kiln_gemm_options, [UnsafePointer<kiln_tensor>]) -> Void = { _, _ in },
    more: [KernelCase.Operand] = [], outputs: [KernelCase.Output] = [], initial: [Double]? = nil
  ) -> KernelCase {
    let (k, n) = transposed ? (pattern.cols, pattern.rows) : (pattern.rows, pattern.cols)
    let name = "\(pattern.rows) x \(pattern.cols), blocks \(pattern.blockRows) x \(pattern.blockCols), m \(m), "
    return KernelCase(
      name + (transposed ? "W^T" : "W") + label,
      inputs: [.real([m, k], seed: 2), .real(pattern.valuesShape, seed: 3, dense: true)] + more,
      outputs: [.init([m, n], initial: initial)] + outputs
    ) { context, outs, ins in
      withPointers(outs + ins) { p in
        pattern.withView { w in
          var o = kiln_gemm_defaults()
          o.transpose_b = transposed ? 1 : 0
          o.b_sparse = w
          options(&o, p)
          return kiln_gemm(context, p[0], p[outs.count], p[outs.count + 1], &o)
        }
      }
    }
  }

  @Test(arguments: patterns.indices, [true, false]) func products(_ index: Int, _ transposed: Bool) {
    let pattern = Self.patterns[index]
    guard pattern.count > 0 else { return }
    for m in [1, 70] { product(pattern, m: m, transposed: transposed).check() }
  }

  /// As many rows as fill panels on all instruction sets, and columns as take several parts: beside the dense product.
  @Test(arguments: [true, false]) func largeProducts(_ transposed: Bool) {
    for pattern in [
      Pattern(600, 520, blocks: (16, 16), density: 0.1), Pattern(520, 600, kept: 2, of: 4),
      Pattern(600, 520, blocks: (1, 1), density: 0.05),
    ] {
      let (m, k, n) = (2100, transposed ? pattern.cols : pattern.rows, transposed ? pattern.rows : pattern.cols)
      let x = TestTensor([m, k], values: pseudoRandom(m * k, seed: 5))
      let values = TestTensor(
        pattern.valuesShape, values: pseudoRandom(pattern.valuesShape[0] * pattern.valuesShape[1], seed: 4))
      let dense = TestTensor([pattern.rows, pattern.cols])
      for isa in TestContext.availableISAs {
        let context = TestContext(isa: isa, threads: 2)
        let (sparse, full) = (TestTensor([m, n]), TestTensor([m, n]))
        let statuses = withPointers([values, dense, x, sparse, full].map(\.view)) { p in
          pattern.withView { w in
            var o = kiln_gemm_defaults()
            o.transpose_b = transposed ? 1 : 0
            let copied = kiln_sparse_scatter(context.handle, p[1], p[0], w)
            let product = kiln_gemm(context.handle, p[4], p[2], p[1], &o)
            o.b_sparse = w
            return [copied, product, kiln_gemm(context.handle, p[3], p[2], p[0], &o)]
          }
        }
        #expect(statuses.allSatisfy { $0 == KILN_OK }, "\(context.lastError)")
        let off = zip(sparse.values, full.values).reduce(0) { max($0, abs($1.0 - $1.1)) }
        #expect(off < 1e-4 && sparse.guardsIntact, "isa \(isa.rawValue): \(off)")
      }
    }
  }

  @Test func epilogues() {
    for pattern in [Pattern(36, 40, blocks: (4, 4), density: 0.5), Pattern(36, 40, kept: 2, of: 4)] {
      let (m, n) = (11, pattern.rows)
      product(
        pattern, m: m, transposed: true, ", bias, activation, residual",
        options: { o, p in
          o.bias = p[4]
          o.residual = p[5]
          o.preactivation = p[1]
          o.activation = KILN_ACT_GELU_TANH
          o.alpha = 0.5
        }, more: [.real([n], seed: 5, wide: true), .real([m, n], seed: 6)], outputs: [.init([m, n])]
      ).check()
      product(
        pattern, m: m, transposed: true, ", added", options: { o, _ in o.accumulate = 1 },
        initial: pseudoRandom(m * n, seed: 8).map { Double(Float($0)) }
      ).check()
    }
  }

  @Test(arguments: patterns.indices) func gradients(_ index: Int) {
    let pattern = Self.patterns[index]
    guard pattern.count > 0 else { return }
    for (m, accumulate) in [(1, false), (70, true)] + (pattern.count < 300 ? [(600, false)] : []) {
      let initial = pseudoRandom(pattern.count * pattern.blockRows * pattern.blockCols, seed: 9)
      KernelCase(
        "gradient of \(pattern.rows) x \(pattern.cols), blocks \(pattern.blockRows) x \(pattern.blockCols), m \(m)",
        inputs: [.real([m, pattern.rows], seed: 2), .real([m, pattern.cols], seed: 3)],
        outputs: [
          .init(
            pattern.valuesShape, initial: accumulate ? initial.map { Double(Float($0)) } : nil, dense: true, wide: true)
        ]
      ) { context, outs, ins in
        withPointers(outs + ins) { p in
          pattern.withView { w in
            var o = kiln_sparse_gradient_defaults()
            o.accumulate = accumulate ? 1 : 0
            return kiln_sparse_gradient(context, p[0], p[1], p[2], w, &o)
          }
        }
      }.check()
    }
  }

  /// Scattered into a dense matrix, the values give the dense product; gathered, they are themselves again.
  @Test(arguments: patterns.indices) func isTheDenseProduct(_ index: Int) {
    let pattern = Self.patterns[index]
    let context = TestContext(device: KILN_DEVICE_REF)
    let (m, n, k) = (5, pattern.rows, pattern.cols)
    let area = pattern.blockRows * pattern.blockCols
    let values = TestTensor([pattern.count, area], KILN_F64, values: pseudoRandom(pattern.count * area, seed: 4))
    let (dense, back) = (TestTensor([n, k], KILN_F64, layout: .strided), TestTensor([pattern.count, area], KILN_F64))
    let x = TestTensor([m, k], KILN_F64, values: pseudoRandom(m * k, seed: 5))
    let (sparse, full) = (TestTensor([m, n], KILN_F64), TestTensor([m, n], KILN_F64))
    let statuses = withPointers([values, dense, back, x, sparse, full].map(\.view)) { p in
      pattern.withView { w in
        var o = kiln_gemm_defaults()
        o.transpose_b = 1
        let copies = [
          kiln_sparse_scatter(context.handle, p[1], p[0], w), kiln_sparse_gather(context.handle, p[2], p[1], w),
        ]
        let product = kiln_gemm(context.handle, p[5], p[3], p[1], &o)
        o.b_sparse = w
        return copies + [product, kiln_gemm(context.handle, p[4], p[3], p[0], &o)]
      }
    }
    #expect(statuses.allSatisfy { $0 == KILN_OK }, "\(context.lastError)")
    #expect(zip(sparse.values, full.values).allSatisfy { abs($0 - $1) < 1e-12 })
    // What hangs over the edges is 0 in what comes back.
    let zeros = zip(back.values, values.values).filter { $0 != $1 }
    #expect(zeros.allSatisfy { $0.0 == 0 } && (zeros.isEmpty || n % pattern.blockRows + k % pattern.blockCols > 0))
    #expect(dense.values.count { $0 != 0 } == back.values.count { $0 != 0 } && dense.guardsIntact)
  }

  /// Blocks of a dense matrix, those over its edges included; also with strides, in every type.
  @Test(arguments: [(33, 29, 1, 1), (40, 64, 4, 16), (19, 23, 3, 5), (7, 300, 1, 300)])
  func blockNorms(_ rows: Int, _ cols: Int, _ high: Int, _ wide: Int) {
    let shape = [(rows + high - 1) / high, (cols + wide - 1) / wide]
    let values = pseudoRandom(rows * cols, seed: 6).map { ($0 * 16).rounded() / 16 }
    for dtype in [KILN_F32, KILN_F64, KILN_BF16, KILN_F16] {
      for layout in [Layout.dense, .strided] {
        let context = TestContext(threads: 3)
        let (norms, x) = (TestTensor(shape), TestTensor([rows, cols], dtype, layout: layout, values: values))
        let status = withPointers([norms, x].map(\.view)) { p in
          kiln_block_norms(context.handle, p[0], p[1], Int32(high), Int32(wide))
        }
        #expect(status == KILN_OK && norms.guardsIntact, "\(context.lastError)")
        var squares = [Double](repeating: 0, count: shape[0] * shape[1])
        for (place, value) in values.enumerated() {
          squares[place / cols / high * shape[1] + place % cols / wide] += value * value
        }
        #expect(zip(norms.values, squares).allSatisfy { abs($0 - $1.squareRoot()) < 1e-5 })
      }
    }
  }

  /// By way of the dense matrix: what both patterns keep stays, what the new one alone keeps is 0.
  @Test func valuesMove() {
    let pairs: [(Pattern, Pattern)] = [
      (Pattern(40, 64, blocks: (4, 16), density: 0.5), Pattern(40, 64, blocks: (4, 16), density: 0.5, seed: 9)),
      (Pattern(33, 29, blocks: (1, 1), density: 0.3), Pattern(33, 29, blocks: (1, 1), density: 0.3, seed: 9)),
      (Pattern(12, 64, kept: 2, of: 4), Pattern(12, 64, kept: 2, of: 4, seed: 9)),
    ]
    for (from, to) in pairs {
      // The new pattern with as many blocks: those of the old one, each row turned round, where they are not in groups.
      let target = from.kept > 0 ? to : from.mirrored
      let numbers = pseudoRandom(from.valuesShape.reduce(1, *), seed: 3).map { Double(Float($0)) }
      let (values, dense) = (TestTensor(from.valuesShape, values: numbers), TestTensor([from.rows, from.cols]))
      let expected = TestTensor(from.valuesShape)
      let context = TestContext(threads: 2)
      let statuses = withPointers([values, dense, expected].map(\.view)) { p in
        from.withView { from in
          target.withView { to in
            [
              kiln_sparse_scatter(context.handle, p[1], p[0], from), kiln_sparse_gather(context.handle, p[2], p[1], to),
              kiln_sparse_move(context.handle, p[0], to, p[0], from),
            ]
          }
        }
      }
      #expect(statuses.allSatisfy { $0 == KILN_OK }, "\(context.lastError)")
      #expect(values.values == expected.values && values.guardsIntact)
      #expect(values.values.contains(0))
    }
    let (blocks, groups) = (Pattern(12, 64, blocks: (1, 1), density: 0.5), Pattern(12, 64, kept: 2, of: 4))
    let context = TestContext()
    let status = withPointers([TestTensor(groups.valuesShape).view]) { p in
      groups.withView { from in blocks.withView { kiln_sparse_move(context.handle, p[0], $0, p[0], from) } }
    }
    #expect(status == KILN_ERR_SHAPE)
  }

  /// The largest of each group by hand, and the gradient that passes through: dy + decay (1 - M) x.
  @Test(arguments: [(2, 4), (1, 4), (4, 8), (3, 5)], [Layout.dense, .strided])
  func masks(_ pattern: (kept: Int, group: Int), _ layout: Layout) {
    let (rows, cols, decay) = (11, 8 * pattern.group, 0.25)
    // Many magnitudes are equal.
    let x = pseudoRandom(rows * cols, seed: 4).map { ($0 * 6).rounded() / 4 }
    let dy = pseudoRandom(rows * cols, seed: 5).map { Double(Float($0)) }
    let isKept = x.indices.map { place in
      let begin = place / pattern.group * pattern.group
      let order = (begin..<begin + pattern.group).sorted { (abs(x[$1]), $0) < (abs(x[$0]), $1) }
      return order.prefix(pattern.kept).contains(place)
    }
    for dtype in [KILN_F32, KILN_F64, KILN_BF16, KILN_F16] {
      let context = TestContext(threads: 3)
      let wide = dtype == KILN_F64 ? KILN_F64 : KILN_F32
      let given = TestTensor([rows, cols], dtype, layout: layout, values: x)
      let masked = TestTensor([rows, cols], dtype, layout: layout)
      let gradient = TestTensor([rows, cols], wide, layout: layout, values: dy)
      let status = withPointers([masked, given, gradient].map(\.view)) { p in
        [
          kiln_mask_groups(context.handle, p[0], p[1], Int32(pattern.kept), Int32(pattern.group)),
          kiln_mask_groups_backward(
            context.handle, p[2], p[2], p[1], Int32(pattern.kept), Int32(pattern.group), decay),
        ]
      }
      #expect(status == [KILN_OK, KILN_OK] && masked.guardsIntact && gradient.guardsIntact, "\(context.lastError)")
      #expect(masked.values == x.indices.map { isKept[$0] ? x[$0] : 0 })
      let expected = x.indices.map { isKept[$0] ? dy[$0] : dy[$0] + decay * x[$0] }
      #expect(zip(gradient.values, expected).allSatisfy { abs($0 - $1) < 1e-6 })
    }
  }

  /// Factors of groups of columns: y = x f, dx = dy f, df = the sum of dy x over a group, + penalty sign(f).
  @Test(arguments: [1, 3, 80], [Layout.dense, .strided]) func slims(_ group: Int, _ layout: Layout) {
    for isTransposed in [false, true] { slims(group, layout, isTransposed) }
  }

  private func slims(_ group: Int, _ layout: Layout, _ isTransposed: Bool) {
    let (rows, count, penalty) = (13, 5, 0.25)
    let columns = group * count
    let (x, dy) = (
      pseudoRandom(rows * columns, seed: 1), pseudoRandom(rows * columns, seed: 2).map { Double(Float($0)) }
    )
    let factors = [1, -0.5, 0, 0.25, 2.0]
    for dtype in [KILN_F32, KILN_F64, KILN_BF16, KILN_F16] {
      let wide = dtype == KILN_F64 ? KILN_F64 : KILN_F32
      func matrix(_ type: kiln_dtype, _ values: [Double]? = nil) -> (TestTensor, kiln_tensor) {
        func at(_ i: Int) -> Int { isTransposed ? i % rows * columns + i / rows : i }
        let shape = isTransposed ? [columns, rows] : [rows, columns]
        let tensor = TestTensor(shape, type, layout: layout, values: values.map { v in v.indices.map { v[at($0)] } })
        var view = tensor.view
        if isTransposed {
          (view.shape.0, view.shape.1) = (view.shape.1, view.shape.0)
          (view.strides.0, view.strides.1) = (view.strides.1, view.strides.0)
        }
        return (tensor, view)
      }
      let (given, out, gradient) = (matrix(dtype, x), matrix(dtype), matrix(wide, dy))
      let scales = TestTensor([count], wide, layout: layout, values: factors)
      let sums = TestTensor([count], wide, layout: layout)
      let context = TestContext(threads: 3)
      let status = withPointers([out.1, given.1, gradient.1, scales.view, sums.view]) { p in
        [
          kiln_slim(context.handle, p[0], p[1], p[3]),
          kiln_slim_backward(context.handle, p[2], p[4], p[2], p[1], p[3], penalty),
        ]
      }
      #expect(status == [KILN_OK, KILN_OK], "\(context.lastError)")
      #expect(out.0.guardsIntact && gradient.0.guardsIntact && sums.guardsIntact)
      let place = { (i: Int) in isTransposed ? i % rows * columns + i / rows : i }
      let values = given.0.values
      let tolerance = dtype == KILN_BF16 ? 1e-2 : dtype == KILN_F16 ? 1e-3 : 1e-6
      var expected = factors.map { $0 > 0 ? penalty : $0 < 0 ? -penalty : 0 }
      for i in values.indices {
        let k = place(i) % columns / group
        #expect(abs(out.0.values[i] - values[i] * factors[k]) <= tolerance * abs(values[i]))
        #expect(abs(gradient.0.values[i] - dy[place(i)] * factors[k]) < 1e-6)
        expected[k] += dy[place(i)] * values[i]
      }
      #expect(zip(sums.values, expected).allSatisfy { abs($0 - $1) < 1e-4 })
    }
  }

  @Test func factorsThatDoNotDivideTheColumnsAreRefused() {
    let context = TestContext()
    let tensors = [TestTensor([4, 6]), TestTensor([4, 6]), TestTensor([4]), TestTensor([3])].map(\.view)
    let status = withPointers(tensors) { p in
      [
        kiln_slim(context.handle, p[0], p[1], p[2]), kiln_slim(context.handle, p[0], p[1], nil),
        kiln_slim_backward(context.handle, p[0], nil, p[0], p[1], p[3], 0),
        kiln_slim_backward(context.handle, p[0], p[3], p[0], p[1], p[3], -1),
      ]
    }
    #expect(status == [KILN_ERR_SHAPE, KILN_ERR_NULL, KILN_ERR_NULL, KILN_ERR_OPTION])
  }

  @Test func badPatternsAreRefused() {

    func refusal(
      _ change: (Pattern) -> Void = { _ in }, alter: @escaping (inout kiln_sparse) -> Void = { _ in },
      options: (inout kiln_gemm_options) -> Void = { _ in }, values: [Int]? = nil
    ) -> String {
      let pattern = Pattern(8, 12, blocks: (4, 4), density: 0.7)
      change(pattern)
      let context = TestContext()
      let tensors = [
        TestTensor([2, 8]), TestTensor([2, 12], values: [Double](repeating: 1, count: 24)),
        TestTensor(values ?? pattern.valuesShape),
      ]
      let status = withPointers(tensors.map(\.view)) { p in
        pattern.withView { given in
          var w = given.pointee
          alter(&w)
          return withUnsafePointer(to: w) { w in
            var o = kiln_gemm_defaults()
            o.transpose_b = 1
            o.b_sparse = w
            options(&o)
            return kiln_gemm(context.handle, p[0], p[1], p[2], &o)
          }
        }
      }
      return status == KILN_OK ? "" : context.lastError
    }
    #expect(refusal() == "")
    #expect(refusal({ $0.columns.values[0] = 7 }).contains("has column 7 of 3"))
    #expect(refusal({ $0.columns.values[1] = $0.columns.values[0] }).contains("has column"))
    #expect(refusal({ $0.offsets.values[1] = 99 }).contains("goes from 0 to 99"))
    #expect(refusal({ $0.offsets.values[0] = -1 }).contains("goes from -1"))
    #expect(refusal(alter: { $0.block_rows = 0 }).contains("blocks of 0 x 4"))
    #expect(refusal(alter: { $0.rows = -1 }).contains("a sparse matrix of -1 x 12"))
    #expect(refusal(alter: { $0.offsets = nil }).contains("offsets"))
    #expect(refusal(alter: { ($0.kept, $0.group) = (2, 5) }).contains("2 kept of each 5"))
    #expect(refusal(options: { $0.b_blocks = KILN_Q8_0 }).contains("blocks"))
    #expect(refusal(values: [2, 15]).contains("is [2, 15], not [count, 16]"))
  }
}
