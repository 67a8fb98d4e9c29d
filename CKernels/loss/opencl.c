// Cross-entropy on an OpenCL device: whole logits of a block of rows, which become their gradients in place.
#include "gemm/gemm.h"
#include "loss/cross_entropy.h"
#include "opencl/launch.h"

enum { LOGITS_BYTES = 208 << 20, LEAST_ROWS = 16 };

kiln_status kiln__loss_rows_opencl(kiln_context *ctx, const kiln__loss_call *call, kiln_dtype dtype, int64_t first,
                                   const kiln__rows *dlogits, const kiln__rows *logits) {
  KILN_TRY(kiln__cl_takes_real(ctx, dtype));
  float *losses = kiln__data(call->options.losses);
  kiln__cl_grid grid = {logits->rows, 1, 1, ctx->cl->group};
  return KILN_CL_LAUNCH(ctx, kiln__cl_of(KILN_CL_LOSS, dtype), "loss_rows", grid, CL_AT(dlogits->data),
                        CL_AT(logits->data), CL_AT(call->targets ? call->targets + first : NULL),
                        CL_AT(losses ? losses + first : NULL), CL_AT(call->terms ? call->terms + first : NULL),
                        CL_LONG(call->v), CL_LONG(dlogits->stride), CL_LONG(logits->stride),
                        CL_FLOAT(call->options.scale), CL_INT(call->options.ignore));
}

kiln_status kiln__loss_end_opencl(kiln_context *ctx, const kiln__loss_call *call) {
  return KILN_CL_LAUNCH(ctx, KILN_CL_LOSS, "loss_sum", ((kiln__cl_grid){1, 1, 1, 1}), CL_AT(kiln__data(call->loss)),
                        CL_AT(call->terms), CL_LONG(call->n), CL_FLOAT(call->options.scale));
}

typedef struct operand { const kiln_tensor *t; bool transposed; } operand;

static kiln__matrix matrix_of(operand x) {
  return (kiln__matrix){kiln__data(x.t), 0, x.t->strides[x.transposed], x.t->strides[!x.transposed]};
}

// c = a b (+ c), each in a type of its own: logits are kept in fp32, weights may not be.
static kiln_status product(kiln_context *ctx, const kiln_tensor *c, operand a, operand b, bool accumulate) {
  kiln__gemm_args g = {.a = matrix_of(a), .b = matrix_of(b), .a_dtype = a.t->dtype, .b_dtype = b.t->dtype,
                       .batches = 1, .m = c->shape[0], .n = c->shape[1], .k = a.t->shape[!a.transposed],
                       .finish = {.c = matrix_of((operand){c, false}), .dtype = c->dtype, .alpha = 1,
                                  .accumulate = accumulate, .plain = true}};
  if (g.m == 0 || g.n == 0) return KILN_OK;
  size_t mark = kiln__scratch_mark(ctx);
  kiln_status status = kiln__gemm_opencl(ctx, &g);
  kiln__scratch_release(ctx, mark);
  return status;
}

kiln_status kiln__linear_cross_entropy_opencl(kiln_context *ctx, const kiln__loss_call *call, const kiln_tensor *dx,
                                              const kiln_tensor *dw, const kiln_tensor *x, const kiln_tensor *w) {
  int64_t most = kiln__max(LOGITS_BYTES / (kiln__max(call->v, 1) * (int64_t)sizeof(float)), LEAST_ROWS), first = 0;
  int64_t block = kiln__min(most, kiln__max(call->n, 1));
  float *data;
  KILN_TRY(kiln__cl_takes_real(ctx, call->dtype));
  KILN_TRY(kiln__scratch(ctx, (size_t)(block * call->v) * sizeof(float), (void **)&data));
  do {  // once for no rows at all: dw is still to be set to 0
    int64_t count = kiln__min(block, call->n - first);
    kiln_tensor logits = kiln_tensor_dense(data, KILN_F32, 2, (int64_t[]){count, call->v});
    kiln_tensor xs = kiln__part(x, 0, first, count);
    KILN_TRY(product(ctx, &logits, (operand){&xs, false}, (operand){w, true}, false));
    kiln__rows rows = {data, count, call->v, call->v}, none = {0};
    KILN_TRY(kiln__loss_rows_opencl(ctx, call, KILN_F32, first, dx || dw ? &rows : &none, &rows));
    if (dx) {
      kiln_tensor dxs = kiln__part(dx, 0, first, count);
      KILN_TRY(product(ctx, &dxs, (operand){&logits, false}, (operand){w, false}, false));
    }
    bool accumulate = first > 0 || call->options.accumulate_dw;
    if (dw) KILN_TRY(product(ctx, dw, (operand){&logits, true}, (operand){&xs, false}, accumulate));
    first += count;
  } while (first < call->n);
  return kiln__loss_end_opencl(ctx, call);
}
