import CKernels

extension Context {
  /// o = softmax(scale q k^T + mask) v; see `kiln_attention_fwd`. `window` 0 is none, `scale` nil is 1 / sqrt(d);
  /// `offsets` are those of packed sequences.
  public func attention(
    _ o: Tensor, lse: Tensor?, q: Tensor, k: Tensor, v: Tensor, causal: Bool, window: Int = 0, scale: Float? = nil,
    offsets: Tensor? = nil
  ) throws(KilnError) {
    try call(o, lse, q, k, v, offsets) { p in
      var options = Self.attentionOptions(causal, window, scale, p[5])
      return kiln_attention_fwd(handle, p[0], p[1], p[2], p[3], p[4], &options)
    }
  }

  /// See `kiln_attention_bwd`.
  public func attentionBackward(
    dq: Tensor, dk: Tensor, dv: Tensor, do dOut: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor,
    causal: Bool, window: Int = 0, scale: Float? = nil, offsets: Tensor? = nil
  ) throws(KilnError) {
    try call(dq, dk, dv, dOut, q, k, v, o, lse, offsets) { p in
      var options = Self.attentionOptions(causal, window, scale, p[9])
      var saved = kiln_attention_saved(q: p[4], k: p[5], v: p[6], o: p[7], lse: p[8])
      return kiln_attention_bwd(handle, p[0], p[1], p[2], p[3], &saved, &options)
    }
  }

  private static func attentionOptions(
    _ causal: Bool, _ window: Int, _ scale: Float?, _ offsets: UnsafePointer<kiln_tensor>?
  ) -> kiln_attention_options {
    var o = kiln_attention_defaults()
    o.causal = causal ? 1 : 0
    o.window = Int64(window)
    o.scale = scale ?? 0
    o.offsets = offsets
    return o
  }
}
