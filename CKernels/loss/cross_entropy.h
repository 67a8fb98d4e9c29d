// What cross-entropy alone and fused with the projection have in common.
#ifndef KILN_LOSS_CROSS_ENTROPY_H
#define KILN_LOSS_CROSS_ENTROPY_H

#include "core/parallel.h"

#pragma GCC visibility push(hidden)

// The part of a call that is the same for both: `loss`, the targets and the options.
typedef struct kiln__loss_call {
  kiln_cross_entropy_options options;
  const kiln__loss_kernels *kernels;
  const kiln_tensor *loss;
  const int32_t *targets;
  double *terms;  // scratch [n]: each row's loss, so that their sum does not depend on how the rows were cut
  int64_t n, v;
  kiln_dtype dtype;
} kiln__loss_call;

// Checks everything that the two functions share, for n rows of v logits, and takes the scratch for the rows' losses.
kiln_status kiln__loss_begin(kiln_context *ctx, kiln__loss_call *call, const kiln_tensor *loss,
                             const kiln_tensor *targets, const kiln_cross_entropy_options *options);

// loss = scale * sum of the rows' losses.
void kiln__loss_end(const kiln__loss_call *call);

// The same on the device of an OpenCL context: rows of logits from row `first` of the call on, the sum, and both with the
// products around them.
kiln_status kiln__loss_rows_opencl(kiln_context *ctx, const kiln__loss_call *call, kiln_dtype dtype, int64_t first,
                                   const kiln__rows *dlogits, const kiln__rows *logits);
kiln_status kiln__loss_end_opencl(kiln_context *ctx, const kiln__loss_call *call);
kiln_status kiln__linear_cross_entropy_opencl(kiln_context *ctx, const kiln__loss_call *call, const kiln_tensor *dx,
                                              const kiln_tensor *dw, const kiln_tensor *x, const kiln_tensor *w);

#pragma GCC visibility pop
#endif
