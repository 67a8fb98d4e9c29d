import CKernels
import KilnTestSupport
import Testing

/// Products with a matrix in blocks, against sums in Double of the numbers that the blocks mean.
struct GemmBlocksTests {
  static let formats = [KILN_Q4_0, KILN_Q4_1, KILN_Q8_0, KILN_NF4]

  /// A matrix in blocks.
  struct Blocks {
    let codes: Elements<UInt8>
    let absmax: Elements<Float>
    let shape: [Int]
    let values: [Double]

    init(_ format: kiln_block_format, rows: Int, cols: Int, seed: UInt64) {
      let isNF4 = format == KILN_NF4
      let width = isNF4 ? cols / 2 : cols / 32 * kiln_block_bytes(format)
      shape = [rows, width]
      (codes, absmax) = (bytes(rows * width), floats([Float](repeating: 0, count: isNF4 ? rows * cols / 64 : 1)))
      let x = floats(pseudoRandom(rows * cols, seed: seed).map { Float($0) })
      let views = [
        x.view(KILN_F32, [rows, cols]), codes.view(KILN_U8, isNF4 ? [rows * width] : shape),
        absmax.view(KILN_F32, [absmax.count]),
      ]
      let context = TestContext(device: KILN_DEVICE_REF)
      let statuses = withPointers(views) { p in
        isNF4
          ? [
            kiln_quantize_nf4(context.handle, p[1], p[2], nil, nil, p[0]),
            kiln_dequantize_nf4(context.handle, p[0], p[1], p[2], nil, nil),
          ]
          : [
            kiln_quantize_blocks(context.handle, p[1], p[0], format),
            kiln_dequantize_blocks(context.handle, p[0], p[1], format),
          ]
      }
      #expect(statuses == [KILN_OK, KILN_OK])
      values = x.values.map(Double.init)
    }
  }

  struct Shape { var m: Int, n: Int, k: Int, transposed: Bool }

  private func check(_ shape: Shape, _ format: kiln_block_format, _ type: kiln_dtype) {
    let (m, n, k) = (shape.m, shape.n, shape.k)
    let b = Blocks(format, rows: shape.transposed ? n : k, cols: shape.transposed ? k : n, seed: 2)
    let a = GemmNarrowTests.Operand(type, m * k, seed: 1)
    let bias = pseudoRandom(n, seed: 5).map { Float($0) }
    for context in QuantTests.contexts {
      let (c, offset) = (floats([Float](repeating: 9, count: m * n)), floats(bias))
      let views = [
        c.view(KILN_F32, [m, n]), a.memory.view(type, [m, k]), b.codes.view(KILN_U8, b.shape),
        offset.view(KILN_F32, [n]), b.absmax.view(KILN_F32, [b.absmax.count]),
      ]
      let status = withPointers(views) { p in
        var o = kiln_gemm_defaults()
        (o.transpose_b, o.b_blocks, o.bias) = (shape.transposed ? 1 : 0, format, p[3])
        o.b_scales = format == KILN_NF4 ? p[4] : nil
        return kiln_gemm(context.handle, p[0], p[1], p[2], &o)
      }
      #expect(status == KILN_OK, "\(context.lastError)")
      let found = c.values
      for i in 0..<m {
        for j in 0..<n {
          var (sum, size) = (Double(bias[j]), 1.0)
          for x in 0..<k {
            let term = a.values[i * k + x] * b.values[shape.transposed ? j * k + x : x * n + j]
            sum += term
            size += abs(term)
          }
          guard abs(Double(found[i * n + j]) - sum) > size * 0x1p-18 else { continue }
          Issue.record("\(shape) \(format): \(found[i * n + j]), not \(sum)")
          return
        }
      }
    }
  }

  @Test(arguments: formats, [KILN_F32, KILN_BF16, KILN_F16])
  func everyShape(_ format: kiln_block_format, _ type: kiln_dtype) {
    for (m, n, k) in [(1, 1, 64), (5, 17, 128), (33, 35, 192), (70, 130, 64), (9, 40, 1088)] {
      check(Shape(m: m, n: n, k: k, transposed: true), format, type)
    }
    for (m, n, k) in [(1, 64, 1), (5, 128, 17), (33, 192, 35), (70, 64, 130), (9, 320, 1025)] {
      check(Shape(m: m, n: n, k: k, transposed: false), format, type)
    }
  }

  @Test func aBlockOf32() {
    check(Shape(m: 7, n: 19, k: 96, transposed: true), KILN_Q8_0, KILN_F32)
    check(Shape(m: 7, n: 96, k: 19, transposed: false), KILN_Q4_0, KILN_F32)
  }

  /// A planner asks before there is data.
  @Test(arguments: formats) func aQueryNeedsNoData(_ format: kiln_block_format) {
    let b = Blocks(format, rows: 8, cols: 64, seed: 1)
    let x = floats([Float](repeating: 1, count: 128))
    var views = [
      x.view(KILN_F32, [2, 8]), x.view(KILN_F32, [2, 64]), b.codes.view(KILN_U8, b.shape),
      b.absmax.view(KILN_F32, [b.absmax.count]),
    ]
    for index in views.indices { views[index].data = nil }
    let context = TestContext()
    kiln_context_set_query(context.handle, true)
    let status = withPointers(views) { p in
      var o = kiln_gemm_defaults()
      (o.transpose_b, o.b_blocks) = (1, format)
      o.b_scales = format == KILN_NF4 ? p[3] : nil
      return kiln_gemm(context.handle, p[0], p[1], p[2], &o)
    }
    #expect(status == KILN_OK, "\(context.lastError)")
  }

  @Test func refusals() {
    let (x, doubles) = (floats([Float](repeating: 1, count: 128)), Elements<Double>([1, 1], guardedBy: 0))
    let codes = bytes(128)
    let views = [
      x.view(KILN_F32, [2, 2]), x.view(KILN_F32, [2, 32]), codes.view(KILN_U8, [2, 34]), codes.view(KILN_U8, [2, 33]),
      codes.view(KILN_U8, [2, 16]), doubles.view(KILN_F64, [1, 2]), x.view(KILN_F32, [2]),
      codes.view(KILN_U8, [2, 32]),
    ]
    let context = TestContext()
    func expect(
      _ status: kiln_status, _ text: String, _ a: Int, _ b: Int, _ format: kiln_block_format,
      _ change: (inout kiln_gemm_options, [UnsafePointer<kiln_tensor>]) -> Void = { _, _ in }
    ) {
      let got = withPointers(views) { p in
        var o = kiln_gemm_defaults()
        (o.transpose_b, o.b_blocks) = (1, format)
        change(&o, p)
        return kiln_gemm(context.handle, p[0], p[a], p[b], &o)
      }
      #expect(got == status && context.lastError == "gemm: " + text, "\(context.lastError)")
    }
    let unknown = kiln_block_format(rawValue: 6)
    expect(KILN_ERR_OPTION, "b_blocks is 6, not 2 (Q4_0), 3 (Q4_1), 8 (Q8_0) or 256 (NF4)", 1, 2, unknown)
    expect(KILN_ERR_DTYPE, "b is f32, not u8", 1, 1, KILN_Q8_0)
    expect(KILN_ERR_SHAPE, "b is [2, 33], not a matrix whose rows are blocks of 34 bytes", 1, 3, KILN_Q8_0)
    expect(KILN_ERR_DTYPE, "b in blocks does not go with f64", 5, 2, KILN_Q8_0)
    expect(KILN_ERR_NULL, "b_scales is NULL", 1, 7, KILN_NF4)
    expect(KILN_ERR_OPTION, "bias_gradient is not for operands in 8 bits or blocks", 1, 2, KILN_Q8_0) {
      $0.bias_gradient = $1[6]
    }
  }
}
