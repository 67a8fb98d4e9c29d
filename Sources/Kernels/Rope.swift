import CKernels

/// How the frequencies of rotary embeddings are computed; see `kiln/rope.h`.
public struct RotaryFrequencies: Sendable, Hashable {
  public enum Scaling: Sendable, Hashable {
    case none
    case linear(factor: Double)
    case llama3(factor: Double, lowFrequencyFactor: Double, highFrequencyFactor: Double, originalContext: Int)
  }

  public var base: Double
  public var scaling: Scaling

  public init(base: Double = 10_000, scaling: Scaling = .none) {
    self.base = base
    self.scaling = scaling
  }

  var options: kiln_rope_options {
    var o = kiln_rope_defaults()
    o.base = base
    switch scaling {
    case .none: break
    case .linear(let factor):
      o.scaling = KILN_ROPE_LINEAR
      o.factor = factor
    case .llama3(let factor, let low, let high, let original):
      o.scaling = KILN_ROPE_LLAMA3
      o.factor = factor
      o.low_freq_factor = low
      o.high_freq_factor = high
      o.original_context = Int64(original)
    }
    return o
  }
}

extension Context {
  /// y = x [b, t, h, d] rotated by its positions [t]; see `kiln_rope_fwd`.
  public func rope(_ y: Tensor, _ x: Tensor, positions: Tensor, _ frequencies: RotaryFrequencies) throws(KilnError) {
    try call(y, x, positions) { p in
      var o = frequencies.options
      return kiln_rope_fwd(handle, p[0], p[1], p[2], &o)
    }
  }

  /// See `kiln_rope_bwd`.
  public func ropeBackward(_ dx: Tensor, _ dy: Tensor, positions: Tensor, _ frequencies: RotaryFrequencies)
    throws(KilnError)
  {
    try call(dx, dy, positions) { p in
      var o = frequencies.options
      return kiln_rope_bwd(handle, p[0], p[1], p[2], &o)
    }
  }
}
