import CKernels

/// The type of a tensor's elements.
public enum DType: String, Sendable, Hashable, CaseIterable, Codable {
  case float32, float64, float16, bfloat16, int32, int64, uint8, int8, float8E4M3, float8E5M2

  /// Bytes of one element.
  public var size: Int { Int(kiln_dtype_size(code)) }

  public var isFloatingPoint: Bool {
    switch self {
    case .float32, .float64, .float16, .bfloat16, .float8E4M3, .float8E5M2: true
    case .int32, .int64, .uint8, .int8: false
    }
  }

  /// The type that goes with tensors of this one: of vectors of parameters (gains, biases), of all gradients of
  /// parameters, of statistics and losses.
  public var wide: DType { isFloatingPoint && self != .float64 ? .float32 : self }

  var code: kiln_dtype {
    switch self {
    case .float32: KILN_F32
    case .float64: KILN_F64
    case .float16: KILN_F16
    case .bfloat16: KILN_BF16
    case .int32: KILN_I32
    case .int64: KILN_I64
    case .uint8: KILN_U8
    case .int8: KILN_I8
    case .float8E4M3: KILN_F8_E4M3
    case .float8E5M2: KILN_F8_E5M2
    }
  }
}
