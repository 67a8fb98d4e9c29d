import CKernels

extension Context {
  /// y[i] = or += table[ids[i]]; see `kiln_embedding_fwd`.
  public func embedding(_ y: Tensor, table: Tensor, ids: Tensor, accumulate: Bool = false) throws(KilnError) {
    try call(y, table, ids) { p in
      var o = kiln_embedding_defaults()
      o.accumulate = accumulate ? 1 : 0
      return kiln_embedding_fwd(handle, p[0], p[1], p[2], &o)
    }
  }

  /// dtable[ids[i]] += dy[i]; see `kiln_embedding_bwd`.
  public func embeddingBackward(_ dtable: Tensor, _ dy: Tensor, ids: Tensor, accumulate: Bool = false) throws(KilnError)
  {
    try call(dtable, dy, ids) { p in
      var o = kiln_embedding_defaults()
      o.accumulate = accumulate ? 1 : 0
      return kiln_embedding_bwd(handle, p[0], p[1], p[2], &o)
    }
  }
}
