import CKernels

/// The target that marks a position without loss.
public let ignoredTarget: Int32 = -100

extension Context {
  /// loss = scale * sum of the rows' cross-entropies, and its gradient; see `kiln_cross_entropy`.
  public func crossEntropy(
    _ loss: Tensor, dlogits: Tensor?, _ logits: Tensor, targets: Tensor, scale: Float
  ) throws(KilnError) {
    try call(loss, dlogits, logits, targets) { p in
      var o = kiln_cross_entropy_defaults()
      o.scale = scale
      return kiln_cross_entropy(handle, p[0], p[1], p[2], p[3], &o)
    }
  }

  /// The same for logits = x w^T, which are never stored; see `kiln_linear_cross_entropy`.
  public func linearCrossEntropy(
    _ loss: Tensor, dx: Tensor?, dw: Tensor?, _ x: Tensor, _ w: Tensor, targets: Tensor, scale: Float,
    accumulateWeight: Bool = false
  ) throws(KilnError) {
    try call(loss, dx, dw, x, w, targets) { p in
      var o = kiln_cross_entropy_defaults()
      o.scale = scale
      o.accumulate_dw = accumulateWeight ? 1 : 0
      return kiln_linear_cross_entropy(handle, p[0], p[1], p[2], p[3], p[4], p[5], &o)
    }
  }
}
