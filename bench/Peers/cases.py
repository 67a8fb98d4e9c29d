"""The cases that a peer may be asked for: {"work": NAME, and these fields}; "dtype" is float32 or bfloat16, of a gemm
also int8, with sums in int32.

  gemm        op fwd | dx | dw, m, n, k, dtype: Y[m,n] = X[m,k] W[n,k]^T; dX = dY W; dW = dY^T X
  attention   op fwd | fwd_bwd, batch, heads, time, width (of one head), dtype: causal
  loss        rows, channels, vocabulary, dtype: projection and cross-entropy, with the gradients of both factors
  norm        op layer_norm | rms_norm, rows, channels, dtype: forward and backward
  activation  op gelu_tanh | silu, rows, channels, dtype: forward and backward
  adamw       count: one update of that many float32 parameters, weight decay 0.1
  step        batch, time, layers, width, heads, vocabulary, dtype: forward, backward and AdamW of a GPT-2;
              op "checkpoint": each block runs again in the backward
  generation  layers, width, heads, vocabulary, tokens, dtype: greedy, batch 1, from a single token

A module of peers has a class Peer(name, threads) with `note` (library and version) and `prepare(case)`, which returns a
`functools.partial`: a call without arguments does one run and returns its results. It raises NotImplementedError with
the reason where the peer cannot do the case.
"""


def gemm_operands(case, make):
  """The two factors of a gemm, as row-major views; `make(rows, columns)` fills a matrix with random numbers."""
  op, m, n, k = (case[field] for field in ("op", "m", "n", "k"))
  if op == "fwd":
    return make(m, k), make(n, k).T
  if op == "dx":
    return make(m, n), make(n, k)
  if op == "dw":
    return make(m, n).T, make(m, k)
  raise NotImplementedError(f"gemm has no op {op}")
