// Cross-entropy on an OpenCL device: whole logits of a block of rows, which become their gradients in place.
#include "loss/cross_entropy.h"

#include "opencl/launch.h"

enum { LOGITS_BYTES = 208 << 20, LEAST_ROWS = 16 };

kiln_status kiln__loss_rows_opencl(kiln_context *ctx, const kiln__loss_call *call, int64_t first,
                                   const kiln__rows *dlogits, const kiln__rows *logits) {
  KILN_TRY(kiln__cl_takes(ctx, call->dtype));
  float *losses = kiln__data(call->options.losses);
  kiln__cl_grid grid = {logits->rows, 1, 1, ctx->cl->group};
  return KILN_CL_LAUNCH(ctx, KILN_CL_LOSS, "loss_rows", grid, CL_AT(dlogits->data), CL_AT(logits->data),
                        CL_AT(call->targets ? call->targets + first : NULL), CL_AT(losses ? losses + first : NULL),
                        CL_AT(call->terms ? call->terms + first : NULL), CL_LONG(call->v), CL_LONG(dlogits->stride),
                        CL_LONG(logits->stride), CL_FLOAT(call->options.scale), CL_INT(call->options.ignore));
}

kiln_status kiln__loss_end_opencl(kiln_context *ctx, const kiln__loss_call *call) {
  return KILN_CL_LAUNCH(ctx, KILN_CL_LOSS, "loss_sum", ((kiln__cl_grid){1, 1, 1, 1}), CL_AT(kiln__data(call->loss)),
                        CL_AT(call->terms), CL_LONG(call->n), CL_FLOAT(call->options.scale));
}

kiln_status kiln__linear_cross_entropy_opencl(kiln_context *ctx, const kiln__loss_call *call, const kiln_tensor *dx,
                                              const kiln_tensor *dw, const kiln_tensor *x, const kiln_tensor *w) {
  int64_t most = kiln__max(LOGITS_BYTES / (kiln__max(call->v, 1) * (int64_t)sizeof(float)), LEAST_ROWS), first = 0;
  int64_t block = kiln__min(most, kiln__max(call->n, 1));
  float *data;
  KILN_TRY(kiln__cl_takes(ctx, call->dtype));
  KILN_TRY(kiln__scratch(ctx, (size_t)(block * call->v) * sizeof(float), (void **)&data));
  do {  // once for no rows at all: dw is still to be set to 0
    int64_t count = kiln__min(block, call->n - first);
    kiln_tensor logits = kiln_tensor_dense(data, KILN_F32, 2, (int64_t[]){count, call->v});
    kiln_tensor xs = kiln__part(x, 0, first, count);
    kiln_gemm_options o = kiln_gemm_defaults();
    o.transpose_b = 1;
    KILN_TRY(kiln__gemm(ctx, &logits, &xs, w, &o));
    kiln__rows rows = {data, count, call->v, call->v}, none = {0};
    KILN_TRY(kiln__loss_rows_opencl(ctx, call, first, dx || dw ? &rows : &none, &rows));
    o.transpose_b = 0;
    if (dx) {
      kiln_tensor dxs = kiln__part(dx, 0, first, count);
      KILN_TRY(kiln__gemm(ctx, &dxs, &logits, w, &o));
    }
    o.transpose_a = 1;
    o.accumulate = first > 0 || call->options.accumulate_dw;
    if (dw) KILN_TRY(kiln__gemm(ctx, dw, &logits, &xs, &o));
    first += count;
  } while (first < call->n);
  return kiln__loss_end_opencl(ctx, call);
}
