import CKernels

extension Context {
  /// y = activation(x); see `kiln_activation_fwd`.
  public func activation(_ y: Tensor, _ x: Tensor, _ kind: Activation) throws(KilnError) {
    try call(y, x) { p in
      var o = kiln_activation_defaults()
      o.kind = kind.code
      return kiln_activation_fwd(handle, p[0], p[1], &o)
    }
  }

  /// dx = dy * activation'(x); see `kiln_activation_bwd`.
  public func activationBackward(_ dx: Tensor, _ dy: Tensor, _ x: Tensor, _ kind: Activation) throws(KilnError) {
    try call(dx, dy, x) { p in
      var o = kiln_activation_defaults()
      o.kind = kind.code
      return kiln_activation_bwd(handle, p[0], p[1], p[2], &o)
    }
  }

  /// y = silu(gate) * up; see `kiln_swiglu_fwd`.
  public func swiglu(_ y: Tensor, gate: Tensor, up: Tensor) throws(KilnError) {
    try call(y, gate, up) { kiln_swiglu_fwd(handle, $0[0], $0[1], $0[2]) }
  }

  /// See `kiln_swiglu_bwd`.
  public func swigluBackward(dgate: Tensor, dup: Tensor, _ dy: Tensor, gate: Tensor, up: Tensor) throws(KilnError) {
    try call(dgate, dup, dy, gate, up) { kiln_swiglu_bwd(handle, $0[0], $0[1], $0[2], $0[3], $0[4]) }
  }

  /// y = x * keep / (1 - probability), the same mask for the same key; see `kiln_dropout`.
  public func dropout(_ y: Tensor, _ x: Tensor, probability: Float, key: RandomKey) throws(KilnError) {
    try call(y, x) { p in
      var o = kiln_dropout_defaults()
      o.probability = probability
      o.seed = key.seed
      o.step = key.step
      o.site = key.site
      return kiln_dropout(handle, p[0], p[1], &o)
    }
  }
}
