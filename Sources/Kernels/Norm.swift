import CKernels

extension Context {
  /// y = (x - mean) / std * gain + bias; see `kiln_layer_norm_fwd`.
  public func layerNorm(_ y: Tensor, _ x: Tensor, gain: Tensor?, bias: Tensor?, eps: Float) throws(KilnError) {
    try call(y, x, gain, bias) { p in
      var o = Self.normOptions(eps, false, false)
      return kiln_layer_norm_fwd(handle, p[0], p[1], p[2], p[3], &o)
    }
  }

  /// See `kiln_layer_norm_bwd`.
  public func layerNormBackward(
    dx: Tensor?, dgain: Tensor?, dbias: Tensor?, _ dy: Tensor, _ x: Tensor, gain: Tensor?, eps: Float,
    accumulateInput: Bool = false, accumulateParameters: Bool = false
  ) throws(KilnError) {
    try call(dx, dgain, dbias, dy, x, gain) { p in
      var o = Self.normOptions(eps, accumulateInput, accumulateParameters)
      return kiln_layer_norm_bwd(handle, p[0], p[1], p[2], p[3], p[4], p[5], &o)
    }
  }

  /// y = x / rms(x) * gain; see `kiln_rms_norm_fwd`.
  public func rmsNorm(_ y: Tensor, _ x: Tensor, gain: Tensor?, eps: Float) throws(KilnError) {
    try call(y, x, gain) { p in
      var o = Self.normOptions(eps, false, false)
      return kiln_rms_norm_fwd(handle, p[0], p[1], p[2], &o)
    }
  }

  /// See `kiln_rms_norm_bwd`.
  public func rmsNormBackward(
    dx: Tensor?, dgain: Tensor?, _ dy: Tensor, _ x: Tensor, gain: Tensor?, eps: Float,
    accumulateInput: Bool = false, accumulateParameters: Bool = false
  ) throws(KilnError) {
    try call(dx, dgain, dy, x, gain) { p in
      var o = Self.normOptions(eps, accumulateInput, accumulateParameters)
      return kiln_rms_norm_bwd(handle, p[0], p[1], p[2], p[3], p[4], &o)
    }
  }

  private static func normOptions(_ eps: Float, _ input: Bool, _ parameters: Bool) -> kiln_norm_options {
    var o = kiln_norm_defaults()
    o.eps = eps
    o.accumulate_dx = input ? 1 : 0
    o.accumulate_params = parameters ? 1 : 0
    return o
  }
}
