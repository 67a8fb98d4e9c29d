import CKernels

extension Context {
  /// o = softmax(scale q k^T + mask) v; see `kiln_attention_fwd`. `scale` nil is 1 / sqrt(d).
  public func attention(
    _ o: Tensor, lse: Tensor?, q: Tensor, k: Tensor, v: Tensor, causal: Bool, scale: Float? = nil
  ) throws(KilnError) {
    try call(o, lse, q, k, v) { p in
      var options = Self.attentionOptions(causal, scale)
      return kiln_attention_fwd(handle, p[0], p[1], p[2], p[3], p[4], &options)
    }
  }

  /// See `kiln_attention_bwd`.
  public func attentionBackward(
    dq: Tensor, dk: Tensor, dv: Tensor, do dOut: Tensor, q: Tensor, k: Tensor, v: Tensor, o: Tensor, lse: Tensor,
    causal: Bool, scale: Float? = nil
  ) throws(KilnError) {
    try call(dq, dk, dv, dOut, q, k, v, o, lse) { p in
      var options = Self.attentionOptions(causal, scale)
      var saved = kiln_attention_saved(q: p[4], k: p[5], v: p[6], o: p[7], lse: p[8])
      return kiln_attention_bwd(handle, p[0], p[1], p[2], p[3], &saved, &options)
    }
  }

  private static func attentionOptions(_ causal: Bool, _ scale: Float?) -> kiln_attention_options {
    var o = kiln_attention_defaults()
    o.causal = causal ? 1 : 0
    o.scale = scale ?? 0
    return o
  }
}
