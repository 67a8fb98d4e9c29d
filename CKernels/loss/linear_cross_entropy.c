// Cross-entropy fused with the output projection. Each block of rows makes its logits, turns them into their gradient
// where they are, and uses them up in two products.
#include "loss/cross_entropy.h"

enum { LOGITS_BYTES = 32 << 20, LEAST_ROWS = 16 };

typedef struct linear_task {
  kiln__loss_call call;
  const kiln_tensor *dx, *dw, *x, *w;
  kiln_tensor logits;  // [rows of a block, v], in scratch
} linear_task;

// Rows of a block. As many as the memory allows, since each block reads w twice and dw once: then evenly, so that the
// last block is not a thin one.
static int64_t block_rows(const linear_task *t, int64_t ld) {
  int64_t most = LOGITS_BYTES / (ld * (int64_t)kiln_dtype_size(t->call.dtype));
  int64_t blocks = kiln__ceil_div(t->call.n, kiln__max(most, LEAST_ROWS));
  return kiln__ceil_div(t->call.n, kiln__max(blocks, 1));
}

static kiln_status take_logits(kiln_context *ctx, linear_task *t) {
  // An odd number of cache lines from row to row: a power of two would map a column of the block to few cache sets.
  int64_t ld = kiln__round_up(t->call.v, 16) | 16, rows = block_rows(t, ld);
  void *data;
  KILN_TRY(kiln__scratch(ctx, (size_t)(rows * ld) * kiln_dtype_size(t->call.dtype), &data));
  t->logits = kiln_tensor_dense(data, t->call.dtype, 2, (int64_t[]){rows, t->call.v});
  t->logits.strides[0] = ld;
  return KILN_OK;
}

static kiln_tensor some_rows(const kiln_tensor *t, int64_t first, int64_t rows) {
  kiln_tensor part = *t;
  part.offset += first * t->strides[0] * (int64_t)kiln_dtype_size(t->dtype);
  part.shape[0] = rows;
  return part;
}

// Rows first ..< first + rows. In query mode the products only note their scratch.
static kiln_status block(kiln_context *ctx, const linear_task *t, int64_t first, int64_t rows) {
  kiln_gemm_options o = kiln_gemm_defaults();
  kiln_tensor logits = some_rows(&t->logits, 0, rows), x = some_rows(t->x, first, rows);
  o.transpose_b = 1;
  KILN_TRY(kiln__gemm(ctx, &logits, &x, t->w, &o));
  if (!ctx->query) {
    kiln__rows z = {kiln__data(&logits), rows, t->call.v, logits.strides[0]}, dz = z;
    if (!t->dx && !t->dw) dz.data = NULL;
    kiln__loss_rows(ctx, &t->call, first, &dz, &z);
  }
  if (t->dx) {
    kiln_tensor dx = some_rows(t->dx, first, rows);
    KILN_TRY(kiln__gemm(ctx, &dx, &logits, t->w, NULL));
  }
  if (t->dw) {
    o = kiln_gemm_defaults();
    o.transpose_a = 1;
    o.accumulate = first > 0 || t->call.options.accumulate_dw;
    KILN_TRY(kiln__gemm(ctx, t->dw, &logits, &x, &o));
  }
  return KILN_OK;
}

static kiln_status check_matrix(kiln_context *ctx, const char *name, const kiln_tensor *t, const char *like_name,
                                const kiln_tensor *like) {
  kiln__rows rows;
  KILN_TRY(kiln__check_like(ctx, name, t, like_name, like));
  return kiln__fold(ctx, name, t, &rows);
}

static kiln_status check(kiln_context *ctx, linear_task *t) {
  KILN_TRY(kiln__check_real(ctx, "x", t->x, &t->call.dtype));
  KILN_TRY(kiln__check_dtype(ctx, "w", t->w, t->call.dtype));
  if (t->x->rank != 2 || t->w->rank != 2 || t->x->shape[1] != t->w->shape[1]) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "x is %s, w is %s, not [n, c] and [v, c]", kiln__shape_text(t->x).s,
                      kiln__shape_text(t->w).s);
  }
  KILN_TRY(check_matrix(ctx, "x", t->x, "x", t->x));
  KILN_TRY(check_matrix(ctx, "w", t->w, "w", t->w));
  if (t->dx) KILN_TRY(check_matrix(ctx, "dx", t->dx, "x", t->x));
  if (t->dw) KILN_TRY(check_matrix(ctx, "dw", t->dw, "w", t->w));
  t->call.n = t->x->shape[0];
  t->call.v = t->w->shape[0];
  int64_t logits;
  if (!__builtin_mul_overflow(t->call.n, t->call.v + 32, &logits) && logits <= INT64_MAX / 64) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_OVERFLOW, "%lld rows of %lld logits cannot be addressed", (long long)t->call.n,
                    (long long)t->call.v);
}

kiln_status kiln_linear_cross_entropy(kiln_context *ctx, const kiln_tensor *loss, const kiln_tensor *dx,
                                      const kiln_tensor *dw, const kiln_tensor *x, const kiln_tensor *w,
                                      const kiln_tensor *targets, const kiln_cross_entropy_options *options) {
  KILN_TRY(kiln__begin(ctx, "linear_cross_entropy"));
  linear_task t = {.dx = dx, .dw = dw, .x = x, .w = w};
  KILN_TRY(check(ctx, &t));
  KILN_TRY(kiln__loss_begin(ctx, &t.call, loss, targets, options));
  KILN_TRY(take_logits(ctx, &t));
  int64_t n = t.call.n, first = 0;
  do {  // once for no rows at all: dw is still to be set to 0
    int64_t rows = kiln__min(t.logits.shape[0], n - first);
    KILN_TRY(block(ctx, &t, first, rows));
    first += rows;
  } while (first < n);
  if (!ctx->query) kiln__loss_end(&t.call);
  return KILN_OK;
}
