// What the kernels of attention do with tiles, in fp32 for every type of tensors.
#include "attention/tile_kernel.h"

#include "attention/forward_tile_kernel.h"
#include "attention/backward_tile_kernel.h"

static size_t attention_scratch(const kiln__attention_args *a) {
  int64_t transposed = 2 * a->d * ATTENTION_Q, rows = (3 * ATTENTION_Q + 4 * ATTENTION_K) * attention_ld(a->d);
  return (size_t)(transposed + rows + 2 * ATTENTION_K * ATTENTION_Q + 3 * ATTENTION_Q) * sizeof(float);
}
