import CKernels

extension Context {
  /// See `kiln_sgd`.
  public func sgd(
    _ w: Tensor, momentum m: Tensor?, _ g: Tensor, lr: Double, momentum: Double, nesterov: Bool, weightDecay: Double,
    gradientScale: Double
  ) throws(KilnError) {
    try call(w, m, g) { p in
      var o = kiln_sgd_defaults()
      o.nesterov = nesterov ? 1 : 0
      o.lr = lr
      o.momentum = momentum
      o.weight_decay = weightDecay
      o.grad_scale = gradientScale
      return kiln_sgd(handle, p[0], p[1], p[2], &o)
    }
  }

  /// See `kiln_adam`. `step` counts from 1.
  public func adam(
    _ w: Tensor, m: Tensor, v: Tensor, _ g: Tensor, step: Int, lr: Double, betas: (Double, Double), eps: Double,
    weightDecay: Double, decoupled: Bool, gradientScale: Double
  ) throws(KilnError) {
    try call(w, m, v, g) { p in
      var o = kiln_adam_defaults()
      o.decoupled = decoupled ? 1 : 0
      o.step = Int64(step)
      o.lr = lr
      o.beta1 = betas.0
      o.beta2 = betas.1
      o.eps = eps
      o.weight_decay = weightDecay
      o.grad_scale = gradientScale
      return kiln_adam(handle, p[0], p[1], p[2], p[3], &o)
    }
  }
}
