/// Exact attention in tiles (Dao et al., arXiv 2205.14135): no t x t matrix is ever stored.
#ifndef KILN_ATTENTION_H
#define KILN_ATTENTION_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kiln_attention_options {
  uint32_t size;
  uint32_t causal;   ///< key j is visible to query i iff j <= i + tk - tq (aligned at the bottom right)
  float scale;       ///< 0 for 1 / sqrt(d)
  int64_t window;    ///< key j is visible to query i only if i + tk - tq - j < window; 0 for no such limit
  /// NULL, or int32 [b, s + 1]: each batch row holds up to s sequences one behind the other, for tq = tk. Sequence n of
  /// row r is the positions offsets[r, n] ..< offsets[r, n + 1]; a query sees only keys of its own sequence, and none
  /// outside all of them (padding). Each row ascends within 0...tq; equal offsets are an empty sequence, so that a row
  /// with fewer sequences than others repeats its last offset, and shapes stay the same whatever the documents are.
  const kiln_tensor *offsets;
} kiln_attention_options;

static inline kiln_attention_options kiln_attention_defaults(void) {
  kiln_attention_options o = {(uint32_t)sizeof(kiln_attention_options), 0, 0, 0, 0};
  return o;
}

/// o = softmax(scale * q k^T + mask) v for each batch and head.
/// o, q [b, tq, h, d]; k, v [b, tk, hkv, d], h a multiple of hkv, query head i reads key head i / (h / hkv);
/// lse [b, h, tq] (output, may be NULL): log of the sum of exponentials of each row, which the backward needs.
/// F32, F64, BF16 or F16; beside a narrow type lse is F32, and so are the scores, the probabilities and all sums.
/// q, k, v and o need stride 1 in d and take any other strides, so that they may be parts of one packed tensor.
/// d is 1...65536. A row that sees no key gives o = 0, lse = -infinity. A NaN or infinity in a key or value shows in
/// every row that sees it, and may show in a few rows just before those.
KILN_API kiln_status kiln_attention_fwd(kiln_context *ctx, const kiln_tensor *o, const kiln_tensor *lse,
                                        const kiln_tensor *q, const kiln_tensor *k, const kiln_tensor *v,
                                        const kiln_attention_options *options);

/// What `kiln_attention_bwd` reads: the forward's inputs and outputs.
typedef struct kiln_attention_saved {
  const kiln_tensor *q, *k, *v, *o, *lse;
} kiln_attention_saved;

/// Gradients of the above. dq, q, d_o, o [b, tq, h, d]; dk, dv, k, v [b, tk, hkv, d]; lse [b, h, tq] of the forward.
/// With p = exp(scale q k^T - lse), delta = rowsum(d_o * o): dv = p^T d_o; ds = p * (d_o v^T - delta);
/// dq = scale ds k; dk = scale ds^T q; dk and dv summed over the query heads of a key head. All overwritten.
/// Scratch, besides tiles for each thread: sums for dq, of tq h / hkv rows of d elements (rounded up by 47 at most) in
/// fp32 (F64: in fp64). For b hkv >= 16 one for each thread, otherwise b hkv ceil(16 / (b hkv)) of them.
KILN_API kiln_status kiln_attention_bwd(kiln_context *ctx, const kiln_tensor *dq, const kiln_tensor *dk,
                                        const kiln_tensor *dv, const kiln_tensor *d_o,
                                        const kiln_attention_saved *saved, const kiln_attention_options *options);

#ifdef __cplusplus
}
#endif
#endif
