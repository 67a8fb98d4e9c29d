import CKernels

/// How numbers are rounded to a narrower type; see `kiln_rounding_options`.
public enum Rounding: Sendable, Hashable {
  case nearest
  case stochastic(RandomKey)

  var options: kiln_rounding_options {
    var o = kiln_rounding_defaults()
    guard case .stochastic(let key) = self else { return o }
    o.rounding = KILN_ROUND_STOCHASTIC
    o.seed = key.seed
    o.step = key.step
    o.site = key.site
    return o
  }
}

/// A block format of GGUF; see `kiln_block_format`.
public enum BlockFormat: UInt32, Sendable, Hashable, CaseIterable {
  case q4_0 = 2
  case q4_1 = 3
  case q8_0 = 8

  /// Bytes of 32 elements.
  public var blockBytes: Int { kiln_block_bytes(code) }

  var code: kiln_block_format {
    switch self {
    case .q4_0: KILN_Q4_0
    case .q4_1: KILN_Q4_1
    case .q8_0: KILN_Q8_0
    }
  }
}

/// The tensors of a matrix in NF4; see `kiln_quantize_nf4`. With double quantisation `absmax` is uint8 and `nested`
/// there.
public struct NF4Tensors: Sendable {
  public var codes: Tensor
  public var absmax: Tensor
  public var nested: (scales: Tensor, offset: Tensor)?

  public init(codes: Tensor, absmax: Tensor, nested: (scales: Tensor, offset: Tensor)? = nil) {
    self.codes = codes
    self.absmax = absmax
    self.nested = nested
  }
}

extension Context {
  /// y = x * scale, rounded; see `kiln_cast`.
  public func cast(
    _ y: Tensor, _ x: Tensor, scale: Tensor? = nil, rounding: Rounding = .nearest
  ) throws(KilnError) {
    try call(y, x, scale) { p in
      var o = rounding.options
      return kiln_cast(handle, p[0], p[1], p[2], &o)
    }
  }

  /// out = the largest |x|; see `kiln_absmax`.
  public func absmax(_ out: Tensor, _ x: Tensor) throws(KilnError) {
    try call(out, x) { kiln_absmax(handle, $0[0], $0[1]) }
  }

  /// The scale of an 8-bit float from a history of largest magnitudes; see `kiln_float8_scale`.
  public func float8Scale(
    _ scale: Tensor, inverse: Tensor, amax: Tensor, _ dtype: DType, margin: Int = 0
  ) throws(KilnError) {
    try call(scale, inverse, amax) { kiln_float8_scale(handle, $0[0], $0[1], $0[2], dtype.code, Int32(margin)) }
  }

  /// Signed bytes with a scale for each tile; see `kiln_quantize_int8`.
  public func quantizeInt8(
    _ q: Tensor, scales: Tensor, _ x: Tensor, rounding: Rounding = .nearest
  ) throws(KilnError) {
    try call(q, scales, x) { p in
      var o = rounding.options
      return kiln_quantize_int8(handle, p[0], p[1], p[2], &o)
    }
  }

  public func dequantizeInt8(_ y: Tensor, _ q: Tensor, scales: Tensor) throws(KilnError) {
    try call(y, q, scales) { kiln_dequantize_int8(handle, $0[0], $0[1], $0[2]) }
  }

  /// Blocks of GGUF; see `kiln_quantize_blocks`.
  public func quantizeBlocks(_ blocks: Tensor, _ x: Tensor, _ format: BlockFormat) throws(KilnError) {
    try call(blocks, x) { kiln_quantize_blocks(handle, $0[0], $0[1], format.code) }
  }

  public func dequantizeBlocks(_ y: Tensor, _ blocks: Tensor, _ format: BlockFormat) throws(KilnError) {
    try call(y, blocks) { kiln_dequantize_blocks(handle, $0[0], $0[1], format.code) }
  }

  /// See `kiln_quantize_nf4`.
  public func quantizeNF4(_ to: NF4Tensors, _ x: Tensor) throws(KilnError) {
    try call(to.codes, to.absmax, to.nested?.scales, to.nested?.offset, x) {
      kiln_quantize_nf4(handle, $0[0], $0[1], $0[2], $0[3], $0[4])
    }
  }

  public func dequantizeNF4(_ y: Tensor, _ from: NF4Tensors) throws(KilnError) {
    try call(y, from.codes, from.absmax, from.nested?.scales, from.nested?.offset) {
      kiln_dequantize_nf4(handle, $0[0], $0[1], $0[2], $0[3], $0[4])
    }
  }

  /// The dynamic 8-bit map; see `kiln_quantize_dynamic`.
  public func quantizeDynamic(_ codes: Tensor, scales: Tensor, _ x: Tensor, signed: Bool) throws(KilnError) {
    try call(codes, scales, x) { kiln_quantize_dynamic(handle, $0[0], $0[1], $0[2], signed) }
  }

  public func dequantizeDynamic(_ y: Tensor, _ codes: Tensor, scales: Tensor, signed: Bool) throws(KilnError) {
    try call(y, codes, scales) { kiln_dequantize_dynamic(handle, $0[0], $0[1], $0[2], signed) }
  }

  /// Activations in 8, 4 or 2 bits; see `kiln_quantize_groups`.
  public func quantizeGroups(
    _ codes: Tensor, scales: Tensor, _ x: Tensor, bits: Int, key: RandomKey
  ) throws(KilnError) {
    try call(codes, scales, x) { p in
      var o = Rounding.stochastic(key).options
      return kiln_quantize_groups(handle, p[0], p[1], p[2], Int32(bits), &o)
    }
  }

  public func dequantizeGroups(_ y: Tensor, _ codes: Tensor, scales: Tensor, bits: Int) throws(KilnError) {
    try call(y, codes, scales) { kiln_dequantize_groups(handle, $0[0], $0[1], $0[2], Int32(bits)) }
  }
}
