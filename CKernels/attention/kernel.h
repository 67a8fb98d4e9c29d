// Exact attention in tiles of ATTENTION_Q queries by ATTENTION_K keys. All that lies in a tile is transposed, keys down
// and queries across: then the softmax of many queries runs in the lanes of vectors, without a reduction across them,
// and only a block's queries need to be transposed, once, never the keys that stream by.
#include "attention/tile_kernel.h"

#include "attention/forward_tile_kernel.h"
#include "attention/query_kernel.h"
#include "attention/forward_kernel.h"
#include "attention/backward_kernel.h"

static size_t attention_scratch(const kiln__attention_args *a) {
  int64_t transposed = 2 * a->d * ATTENTION_Q, rows = (3 * ATTENTION_Q + 4 * ATTENTION_K) * attention_ld(a->d);
  return (size_t)(transposed + rows + 2 * ATTENTION_K * ATTENTION_Q + 3 * ATTENTION_Q) * sizeof(float);
}

static const kiln__attention_kernels attention_kernels = {
    ATTENTION_Q, attention_scratch, attention_fwd, attention_bwd, attention_add};
