import CKernels
import KilnTestSupport
import Testing

/// What a caller of the narrow numbers can get wrong.
struct QuantRefusalTests {
  let context = TestContext()

  func expect(
    _ status: kiln_status, _ text: String, _ views: [kiln_tensor],
    _ call: (OpaquePointer, [UnsafePointer<kiln_tensor>]) -> kiln_status
  ) {
    let got = withPointers(views) { call(context.handle, $0) }
    #expect(got == status && (text.isEmpty || context.lastError.contains(text)), "\(context.lastError)")
  }

  @Test func casts() {
    let x = floats([1, 2, 3, 4])
    let y = bytes(4)
    let views = [y.view(KILN_F8_E4M3), x.view(KILN_F32), y.view(KILN_F8_E5M2), x.view(KILN_F32, [2, 2])]
    expect(KILN_ERR_DTYPE, "no cast from f8_e5m2 to f8_e4m3", views) { kiln_cast($0, $1[0], $1[2], nil, nil) }
    expect(KILN_ERR_SHAPE, "shapes differ: y is [4], x is [2, 2]", views) { kiln_cast($0, $1[0], $1[3], nil, nil) }
    expect(KILN_ERR_SHAPE, "scale is [4], not of 1 elements", views) { kiln_cast($0, $1[0], $1[1], $1[1], nil) }
    expect(KILN_ERR_DTYPE, "y is f32, to which nothing is rounded stochastically", views) {
      var options = QuantTests.options()
      return kiln_cast($0, $1[1], $1[0], nil, &options)
    }
    expect(KILN_ERR_OPTION, "rounding is 7, not 0 (nearest) or 1 (stochastic)", views) {
      var options = QuantTests.options()
      options.rounding = kiln_rounding(rawValue: 7)
      return kiln_cast($0, $1[0], $1[1], nil, &options)
    }
    expect(KILN_ERR_DTYPE, "x is f8_e4m3, not f32, f64, bf16 or f16", views) { kiln_absmax($0, $1[1], $1[0]) }
    expect(KILN_ERR_SHAPE, "out is [4], not of 1 elements", views) { kiln_absmax($0, $1[1], $1[1]) }
  }

  @Test func int8() {
    let x = floats([Float](repeating: 1, count: 24))
    let q = bytes(24)
    let views = [
      q.view(KILN_I8, [4, 6]), x.view(KILN_F32, [4, 6]), x.view(KILN_F32, [3, 1]), x.view(KILN_F32, [4]),
      q.view(KILN_I8, [6, 4]), q.view(KILN_U8, [4, 6]),
    ]
    let text = "scales is [3, 1], which does not divide the 4 rows and 6 columns of x"
    expect(KILN_ERR_SHAPE, text, views) { kiln_quantize_int8($0, $1[0], $1[2], $1[1], nil) }
    expect(KILN_ERR_SHAPE, "scales is [4]", views) { kiln_quantize_int8($0, $1[0], $1[3], $1[1], nil) }
    expect(KILN_ERR_SHAPE, "q is [6, 4], y is [4, 6]", views) { kiln_dequantize_int8($0, $1[1], $1[4], $1[2]) }
    expect(KILN_ERR_DTYPE, "q is u8, not i8", views) { kiln_quantize_int8($0, $1[5], $1[2], $1[1], nil) }
    expect(KILN_ERR_NULL, "scales is NULL", views) { kiln_quantize_int8($0, $1[0], nil, $1[1], nil) }
  }

  @Test func blocks() {
    let x = floats([Float](repeating: 1, count: 128))
    let codes = bytes(128)
    let views = [
      codes.view(KILN_U8, [2, 36]), x.view(KILN_F32, [2, 64]), x.view(KILN_F32, [4, 31]), codes.view(KILN_U8, [2, 34]),
      codes.view(KILN_U8, [64]), codes.view(KILN_U8, [2]), x.view(KILN_F32, [2]), x.view(KILN_F32, [1]),
    ]
    expect(KILN_ERR_SHAPE, "x is [4, 31]; the last extent must be a multiple of 32", views) {
      kiln_quantize_blocks($0, $1[0], $1[2], KILN_Q4_0)
    }
    expect(KILN_ERR_SHAPE, "blocks is [2, 34], not the 2 rows of 36 bytes that y has", views) {
      kiln_dequantize_blocks($0, $1[1], $1[3], KILN_Q4_0)
    }
    expect(KILN_ERR_OPTION, "format is 6, not 2 (Q4_0), 3 (Q4_1) or 8 (Q8_0)", views) {
      kiln_quantize_blocks($0, $1[0], $1[1], kiln_block_format(rawValue: 6))
    }
    #expect(kiln_block_bytes(kiln_block_format(rawValue: 6)) == 0)
    expect(KILN_ERR_NULL, "offset is NULL", views) { kiln_quantize_nf4($0, $1[4], $1[5], $1[7], nil, $1[1]) }
    expect(KILN_ERR_DTYPE, "absmax is u8, not f32", views) { kiln_quantize_nf4($0, $1[4], $1[5], nil, nil, $1[1]) }
    expect(KILN_ERR_SHAPE, "codes is [2], not of 64 elements", views) {
      kiln_quantize_nf4($0, $1[5], $1[6], nil, nil, $1[1])
    }
    expect(KILN_ERR_SHAPE, "scales is [2], not of 1 elements", views) {
      kiln_quantize_dynamic($0, $1[5], $1[6], $1[6], true)
    }
    expect(KILN_ERR_OPTION, "bits is 3, not 8, 4 or 2", views) { kiln_quantize_groups($0, $1[4], $1[6], $1[1], 3, nil) }
    expect(KILN_ERR_DTYPE, "scales is f32, not bf16", views) {
      kiln_dequantize_groups($0, $1[1], $1[4], $1[6], 2)
    }
  }

  /// Every function looks at its arguments alone while the context is asked for scratch.
  @Test func queriesTouchNothing() {
    var none = floats([]).view(KILN_F32, [128, 64])
    none.data = nil
    var q = bytes(0).view(KILN_I8, [128, 64])
    q.data = nil
    var scales = floats([]).view(KILN_F32, [1, 64])
    scales.data = nil
    kiln_context_set_query(context.handle, true)
    expect(KILN_OK, "", [q, scales, none]) { kiln_quantize_int8($0, $1[0], $1[1], $1[2], nil) }
    #expect(kiln_context_workspace_peak(context.handle) >= 2 * 64 * 4)
    expect(KILN_OK, "", [q, none]) { kiln_copy($0, $1[0], $1[0]) }
  }
}
