import CKernels

/// An activation function; the formulas are in `kiln/activation.h`.
public enum Activation: String, Sendable, Hashable, CaseIterable {
  case relu, geluTanh, geluErf, silu

  var code: kiln_activation {
    switch self {
    case .relu: KILN_ACT_RELU
    case .geluTanh: KILN_ACT_GELU_TANH
    case .geluErf: KILN_ACT_GELU_ERF
    case .silu: KILN_ACT_SILU
    }
  }
}

/// How a matrix lies in blocks: a format of GGUF, or codes of NF4 with the absmax of their blocks.
public enum WeightBlocks: Sendable {
  case gguf(BlockFormat)
  case nf4(absmax: Tensor)

  var code: kiln_block_format {
    switch self {
    case .gguf(let format): format.code
    case .nf4: KILN_NF4
    }
  }

  var absmax: Tensor? { if case .nf4(let absmax) = self { absmax } else { nil } }
}

extension Context {
  /// What happens around a product.
  public struct GemmOptions {
    public var transposeA = false
    public var transposeB = false
    public var accumulate = false
    public var alpha: Float = 1
    public var activation: Activation?
    public var bias: Tensor?
    public var residual: Tensor?
    public var preactivation: Tensor?
    public var gradientAt: Tensor?
    public var biasGradient: Tensor?
    public var biasGradientOfB = false
    /// What numbers in 8 bits are multiplied by: one for all, or for each row of a and column of b.
    public var scalesOfA: Tensor?
    public var scalesOfB: Tensor?
    /// b is in blocks, which are unpacked on the way.
    public var blocksOfB: WeightBlocks?
    /// b is sparse: the tensor is that of its values.
    public var patternOfB: SparsePattern?
    public init() {}
  }

  /// c = activation(alpha a b + bias) + residual, or (alpha a b + bias) activation'(gradientAt) + residual; see
  /// `kiln_gemm`.
  public func gemm(_ c: Tensor, _ a: Tensor, _ b: Tensor, _ options: GemmOptions = GemmOptions()) throws(KilnError) {
    try call(
      c, a, b, options.bias, options.residual, options.preactivation, options.gradientAt, options.biasGradient,
      options.scalesOfA, options.blocksOfB?.absmax ?? options.scalesOfB
    ) { p in
      var o = kiln_gemm_defaults()
      o.transpose_a = options.transposeA ? 1 : 0
      o.transpose_b = options.transposeB ? 1 : 0
      o.accumulate = options.accumulate ? 1 : 0
      o.alpha = options.alpha
      o.activation = options.activation?.code ?? KILN_ACT_NONE
      o.bias = p[3]
      o.residual = p[4]
      o.preactivation = p[5]
      o.gradient_at = p[6]
      o.bias_gradient = p[7]
      o.bias_gradient_of_b = options.biasGradientOfB ? 1 : 0
      o.a_scales = p[8]
      o.b_scales = p[9]
      if let blocks = options.blocksOfB { o.b_blocks = blocks.code }
      guard let pattern = options.patternOfB else { return kiln_gemm(handle, p[0], p[1], p[2], &o) }
      return pattern.withView { view in
        o.b_sparse = view
        return kiln_gemm(handle, p[0], p[1], p[2], &o)
      }
    }
  }

  /// dbias = sum over rows of dy; see `kiln_bias_bwd`.
  public func biasBackward(_ dbias: Tensor, _ dy: Tensor, accumulate: Bool = false) throws(KilnError) {
    try call(dbias, dy) { p in
      var o = kiln_bias_defaults()
      o.accumulate = accumulate ? 1 : 0
      return kiln_bias_bwd(handle, p[0], p[1], &o)
    }
  }
}
