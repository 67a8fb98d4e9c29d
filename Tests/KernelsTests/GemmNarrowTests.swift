import CKernels
import KilnTestSupport
import Testing

/// Products of operands in 8 bits against sums in Double of what their codes mean.
struct GemmNarrowTests {
  static let eights = [KILN_I8, KILN_F8_E4M3, KILN_F8_E5M2]

  /// An operand's codes or numbers, as memory and as what they mean.
  struct Operand {
    let memory: Elements<UInt8>
    let values: [Double]
    let dtype: kiln_dtype

    init(_ dtype: kiln_dtype, _ count: Int, seed: UInt64, extreme: Bool = false) {
      self.dtype = dtype
      let numbers = pseudoRandom(count, seed: seed).map { Float(extreme ? 127 : $0 * 100).rounded() }
      guard dtype != KILN_I8 else {
        memory = Elements(numbers.map { UInt8(bitPattern: Int8($0)) }, guardedBy: 0x5A)
        values = numbers.map(Double.init)
        return
      }
      let (context, back) = (TestContext(device: KILN_DEVICE_REF), floats(numbers))
      memory = bytes(count * kiln_dtype_size(dtype))
      let views = [memory.view(dtype, [count]), back.view(KILN_F32, [count])]
      let casts = withPointers(views) { p in
        [kiln_cast(context.handle, p[0], p[1], nil, nil), kiln_cast(context.handle, p[1], p[0], nil, nil)]
      }
      #expect(casts == [KILN_OK, KILN_OK], "\(context.lastError)")
      values = back.values.map(Double.init)
    }
  }

  struct Shape { var m: Int, n: Int, k: Int, transposeA = false, transposeB = false }

  private func check(
    _ shape: Shape, _ types: (kiln_dtype, kiln_dtype), scales: (Int, Int), extreme: Bool = false,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    let (m, n, k) = (shape.m, shape.n, shape.k)
    let a = Operand(types.0, m * k, seed: 1, extreme: extreme)
    let b = Operand(types.1, k * n, seed: 2, extreme: extreme)
    let rowScales = pseudoRandom(scales.0, seed: 3).map { Float($0) }
    let colScales = pseudoRandom(scales.1, seed: 4).map { Float($0) }
    let bias = pseudoRandom(n, seed: 5).map { Float($0) }
    var first: [UInt32]?
    for context in QuantTests.contexts {
      let c = floats([Float](repeating: 9, count: m * n))
      let (offset, rows, cols) = (floats(bias), floats(rowScales), floats(colScales))
      let views = [
        c.view(KILN_F32, [m, n]), a.memory.view(types.0, shape.transposeA ? [k, m] : [m, k]),
        b.memory.view(types.1, shape.transposeB ? [n, k] : [k, n]), offset.view(KILN_F32, [n]),
        rows.view(KILN_F32, [scales.0]), cols.view(KILN_F32, [scales.1]),
      ]
      let status = withPointers(views) { p in
        var o = kiln_gemm_defaults()
        o.transpose_a = shape.transposeA ? 1 : 0
        o.transpose_b = shape.transposeB ? 1 : 0
        o.bias = p[3]
        o.a_scales = scales.0 > 0 ? p[4] : nil
        o.b_scales = scales.1 > 0 ? p[5] : nil
        return kiln_gemm(context.handle, p[0], p[1], p[2], &o)
      }
      #expect(status == KILN_OK, "\(context.lastError)", sourceLocation: sourceLocation)
      let found = c.values
      for i in 0..<m {
        for j in 0..<n {
          var (sum, size) = (0.0, 0.0)
          for x in 0..<k {
            let term =
              a.values[shape.transposeA ? x * m + i : i * k + x] * b.values[shape.transposeB ? j * k + x : x * n + j]
            sum += term
            size += abs(term)
          }
          let row = scales.0 == 0 ? 1 : Double(rowScales[scales.0 == 1 ? 0 : i])
          let col = scales.1 == 0 ? 1 : Double(colScales[scales.1 == 1 ? 0 : j])
          let expected = sum * row * col + Double(bias[j])
          let room = (size * abs(row * col) + abs(Double(bias[j]))) * (types == (KILN_I8, KILN_I8) ? 0x1p-21 : 0x1p-18)
          if abs(Double(found[i * n + j]) - expected) > room + 1e-6 {
            Issue.record("\(shape) \(types): \(found[i * n + j]), not \(expected)", sourceLocation: sourceLocation)
            return
          }
        }
      }
      // int8 sums below 2^24 are exact everywhere.
      guard types == (KILN_I8, KILN_I8), k <= 1024, scales == (0, 0) else { continue }
      #expect(first == nil || first == bits(found), sourceLocation: sourceLocation)
      first = bits(found)
    }
  }

  @Test(arguments: eights) func everyShapeAndTranspose(_ type: kiln_dtype) {
    for (m, n, k) in [(1, 1, 1), (1, 40, 7), (5, 17, 2), (7, 16, 33), (33, 35, 130), (13, 9, 0)] {
      for (ta, tb) in [(false, false), (false, true), (true, false), (true, true)] {
        check(Shape(m: m, n: n, k: k, transposeA: ta, transposeB: tb), (type, type), scales: (m, n))
      }
    }
  }

  @Test(arguments: eights, [KILN_F32, KILN_BF16, KILN_F16, KILN_I8, KILN_F8_E4M3, KILN_F8_E5M2])
  func besideAnyOther(_ type: kiln_dtype, _ other: kiln_dtype) {
    check(Shape(m: 19, n: 37, k: 65, transposeB: true), (type, other), scales: (19, 0))
    check(Shape(m: 19, n: 37, k: 65), (other, type), scales: (0, 37))
    check(Shape(m: 19, n: 37, k: 65), (type, other), scales: (1, 0))
  }

  /// No sum of two products fits int16, and runs of k add up: nothing saturates.
  @Test(arguments: [2, 1024, 1025, 4100]) func theLargestCodes(k: Int) {
    check(Shape(m: 7, n: 18, k: k), (KILN_I8, KILN_I8), scales: (0, 0), extreme: true)
  }

  @Test func epiloguesAsForOthers() {
    let (m, n, k) = (9, 21, 40)
    let (a, b) = (Operand(KILN_I8, m * k, seed: 1), Operand(KILN_I8, k * n, seed: 2))
    let (wideA, wideB) = (floats(a.values.map(Float.init)), floats(b.values.map(Float.init)))
    let residual = floats(pseudoRandom(m * n, seed: 6).map { Float($0) })
    for context in QuantTests.contexts {
      let results = [true, false].map { narrow in
        let (c, before) = (floats([Float](repeating: 0.5, count: m * n)), floats([Float](repeating: 0, count: m * n)))
        let views = [
          c.view(KILN_F32, [m, n]), narrow ? a.memory.view(KILN_I8, [m, k]) : wideA.view(KILN_F32, [m, k]),
          narrow ? b.memory.view(KILN_I8, [k, n]) : wideB.view(KILN_F32, [k, n]), residual.view(KILN_F32, [m, n]),
          before.view(KILN_F32, [m, n]),
        ]
        let status = withPointers(views) { p in
          var o = kiln_gemm_defaults()
          (o.alpha, o.activation, o.accumulate) = (1e-4, KILN_ACT_GELU_TANH, 1)
          (o.residual, o.preactivation) = (p[3], p[4])
          return kiln_gemm(context.handle, p[0], p[1], p[2], &o)
        }
        #expect(status == KILN_OK, "\(context.lastError)")
        return c.values + before.values
      }
      for (narrow, wide) in zip(results[0], results[1]) { #expect(abs(narrow - wide) < 1e-5) }
    }
  }

  @Test func refusals() {
    let (x, eight, scales) = (floats([Float](repeating: 1, count: 16)), bytes(16), floats([1, 1, 1]))
    let doubles = Elements<Double>([Double](repeating: 1, count: 16), guardedBy: 0)
    let views = [
      x.view(KILN_F32, [4, 4]), eight.view(KILN_I8, [4, 4]), scales.view(KILN_F32, [3]),
      doubles.view(KILN_F64, [4, 4]),
      x.view(KILN_F32, [4]),
    ]
    let context = TestContext()
    func expect(
      _ status: kiln_status, _ text: String, _ a: Int, _ b: Int,
      _ change: (inout kiln_gemm_options, [UnsafePointer<kiln_tensor>]) -> Void = { _, _ in }
    ) {
      let got = withPointers(views) { p in
        var o = kiln_gemm_defaults()
        change(&o, p)
        return kiln_gemm(context.handle, p[0], p[a], p[b], &o)
      }
      #expect(got == status && context.lastError == "gemm: " + text, "\(context.lastError)")
    }
    expect(KILN_ERR_SHAPE, "a_scales is [3], not of 1 or 4 elements", 1, 1) { $0.a_scales = $1[2] }
    expect(KILN_ERR_OPTION, "b_scales is for an operand in 8 bits, which is f32", 1, 0) { $0.b_scales = $1[4] }
    expect(KILN_ERR_DTYPE, "operands in 8 bits do not go with f64", 1, 3)
    expect(KILN_ERR_OPTION, "bias_gradient is not for operands in 8 bits or blocks", 1, 1) { $0.bias_gradient = $1[4] }
  }
}
