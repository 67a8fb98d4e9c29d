/// Softmax cross-entropy, alone and fused with the output projection.
#ifndef KILN_LOSS_H
#define KILN_LOSS_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kiln_cross_entropy_options {
  uint32_t size;
  int32_t ignore;            ///< rows with this target have loss 0 and gradient 0; default -100
  float scale;               ///< factor of the loss and of the gradients, such as 1 / number of targets; default 1
  uint32_t accumulate_dw;    ///< fused only: dw += instead of =
  const kiln_tensor *losses; ///< output [n], default none: each row's unscaled loss
} kiln_cross_entropy_options;

static inline kiln_cross_entropy_options kiln_cross_entropy_defaults(void) {
  kiln_cross_entropy_options o = {(uint32_t)sizeof(kiln_cross_entropy_options), -100, 1, 0, NULL};
  return o;
}

/// loss = scale * sum over rows of (log sum exp(logits) - logits[target]).
/// loss: one element; logits [n, v], stride 1 in v; targets I32 [n], dense; dlogits [n, v] or NULL, may be logits:
/// dlogits = scale * (softmax(logits) - onehot(target)). Row sums in fp32, their sum in fp64.
/// logits and dlogits F32, F64, BF16 or F16; beside a narrow type loss and losses are F32.
/// @return KILN_ERR_INDEX for a target that is neither in 0 ..< v nor `ignore`, before anything is written.
KILN_API kiln_status kiln_cross_entropy(kiln_context *ctx, const kiln_tensor *loss, const kiln_tensor *dlogits,
                                        const kiln_tensor *logits, const kiln_tensor *targets,
                                        const kiln_cross_entropy_options *options);

/// The same loss of logits = x w^T, which are never stored: a panel of them at a time becomes exponentials, which exist
/// for a block of rows, are used up in two products, and stand in for dlogits up to a factor of each row.
/// loss: one element; dx, x [n, c]; dw, w [v, c]; targets I32 [n]. dx = dlogits w; dw = dlogits^T x. dx and dw may
/// each be NULL: then only the loss (or the other gradient) is computed.
/// x, w and dx F32, F64, BF16 or F16; beside a narrow type loss, losses and dw are F32, logits are in fp32, and the
/// exponentials, and x times its rows' factors, are rounded to it for the products. In F16 an exponential that is 2^24
/// times smaller than the largest of its row may become 0.
/// Scratch: a block of rows of exponentials, at most 50 MiB or 16 rows, a panel of logits, at most 4 MiB, and the
/// products' own; below 64 MiB for the shapes of GPT-2. Should it run out (KILN_ERR_MEMORY, KILN_ERR_WORKSPACE), dx and
/// dw may have been written in part.
/// @return KILN_ERR_INDEX for a target that is neither in 0 ..< v nor `ignore`, before anything is written.
KILN_API kiln_status kiln_linear_cross_entropy(kiln_context *ctx, const kiln_tensor *loss, const kiln_tensor *dx,
                                               const kiln_tensor *dw, const kiln_tensor *x, const kiln_tensor *w,
                                               const kiln_tensor *targets, const kiln_cross_entropy_options *options);

#ifdef __cplusplus
}
#endif
#endif
