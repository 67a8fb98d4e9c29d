/// Table look-up and its gradient. All F32, F64, BF16 or F16; beside a narrow type the gradient dtable is F32, and the
/// table may be.
#ifndef KILN_EMBEDDING_H
#define KILN_EMBEDDING_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kiln_embedding_options {
  uint32_t size;
  uint32_t accumulate; ///< y += , dtable += instead of =
} kiln_embedding_options;

static inline kiln_embedding_options kiln_embedding_defaults(void) {
  kiln_embedding_options o = {(uint32_t)sizeof(kiln_embedding_options), 0};
  return o;
}

/// y[i] = table[ids[i]]. y [..., c]; table [v, c]; ids I32, of y's leading dimensions, dense, or broadcast: as many
/// elements as a divisor of y's rows, then repeated (positions [t] against y [b, t, c]).
/// @return KILN_ERR_INDEX for an id outside 0 ..< v, named with its place, before anything is written.
KILN_API kiln_status kiln_embedding_fwd(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *table,
                                        const kiln_tensor *ids, const kiln_embedding_options *options);

/// dtable[ids[i]] += dy[i] in the order of i; without `accumulate` dtable is set to 0 first. Shapes as above.
KILN_API kiln_status kiln_embedding_bwd(kiln_context *ctx, const kiln_tensor *dtable, const kiln_tensor *dy,
                                        const kiln_tensor *ids, const kiln_embedding_options *options);

#ifdef __cplusplus
}
#endif
#endif
