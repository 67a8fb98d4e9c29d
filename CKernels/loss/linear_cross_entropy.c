// Cross-entropy fused with the output projection. Each block of rows makes its logits, a panel of columns at a time,
// which become exponentials while they are in a cache; these are used up in two products. The products take them
// without their rows' factors: the small matrices around them, x and dx, are multiplied by the factors instead.
#include "loss/cross_entropy.h"

enum {
  EXPS_BYTES = 50 << 20, LEAST_ROWS = 16,  // of a block
  SUMS_BYTES = 16 << 20,                   // of a product, once k is longer than its kernels' kc
  PANEL_COLS = 2048, PANEL_BYTES = 4 << 20,
};

typedef struct linear_task {
  kiln__loss_call call;
  const kiln_tensor *dx, *dw, *x, *w;
  // scratch, for the rows of a block
  kiln_tensor logits;           // wide, a panel of them
  kiln_tensor exps;             // [rows, v]; without data if only the loss is wanted
  kiln_tensor scaled_x;         // x, each row times its factor
  kiln_tensor unscaled_dx;      // wide
  void *shift, *sum, *chosen, *factor;
  // what the threads are at
  kiln__loss_panel panel;
  kiln__loss_scaling scaling;
  void (*body)(const struct linear_task *t, int64_t begin, int64_t end);
  int64_t rows, rows_per_chunk;
} linear_task;

// Rows of a block, whose exponentials have `line` bytes each. As many as the memory allows, since each block reads w
// twice and dw once; beyond kc rows the product that makes dw needs memory too. Then evenly, so that the last block is
// not a thin one.
static int64_t block_rows(const kiln_context *ctx, const linear_task *t, int64_t line, int64_t cols) {
  int64_t kc = ctx->kernels[t->call.dtype].gemm->kc, most = EXPS_BYTES / line;
  most = kiln__min(most, kiln__max(kc, (EXPS_BYTES - SUMS_BYTES) / line));
  most = kiln__min(most, PANEL_BYTES / (kiln__max(cols, 1) * (int64_t)sizeof(float)));
  int64_t blocks = kiln__ceil_div(t->call.n, kiln__max(most, LEAST_ROWS));
  return kiln__ceil_div(t->call.n, kiln__max(blocks, 1));
}

static kiln_status take(kiln_context *ctx, kiln_tensor *out, kiln_dtype dtype, int64_t rows, int64_t cols, int64_t ld) {
  void *data;
  KILN_TRY(kiln__scratch(ctx, (size_t)(rows * ld) * kiln_dtype_size(dtype), &data));
  *out = kiln_tensor_dense(data, dtype, 2, (int64_t[]){rows, cols});
  out->strides[0] = ld;
  return KILN_OK;
}

static kiln_status take_scratch(kiln_context *ctx, linear_task *t) {
  kiln_dtype dtype = t->call.dtype, wide = kiln__wide(dtype);
  // An odd number of cache lines from row to row: a power of two would map a column of the block to few cache sets.
  int64_t item = (int64_t)kiln_dtype_size(dtype), ld = (kiln__ceil_div(t->call.v * item, 64) | 1) * (64 / item);
  int64_t c = t->x->shape[1], cols = kiln__min(t->call.v, PANEL_COLS), rows = block_rows(ctx, t, ld * item, cols);
  KILN_TRY(take(ctx, &t->logits, wide, rows, cols, kiln__round_up(cols, 16) | 16));
  if (t->dx || t->dw) KILN_TRY(take(ctx, &t->exps, dtype, rows, t->call.v, ld));
  if (t->dw) KILN_TRY(take(ctx, &t->scaled_x, dtype, rows, c, c));
  if (t->dx) KILN_TRY(take(ctx, &t->unscaled_dx, wide, rows, c, c));
  void **states[] = {&t->shift, &t->sum, &t->chosen, &t->factor};
  for (int i = 0; i < 4; i++) KILN_TRY(kiln__scratch(ctx, (size_t)rows * kiln_dtype_size(wide), states[i]));
  return KILN_OK;
}

static void chunk_of_rows(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const linear_task *t = arg;
  int64_t begin = chunk * t->rows_per_chunk;
  t->body(t, begin, kiln__min(begin + t->rows_per_chunk, t->rows));
}

static void for_rows(const kiln_context *ctx, linear_task *t, int64_t cols,
                     void (*body)(const linear_task *t, int64_t begin, int64_t end)) {
  if (ctx->query) return;
  t->body = body;
  t->rows_per_chunk = kiln__rows_per_chunk(cols);
  kiln__parallel_for(ctx, kiln__ceil_div(t->rows, t->rows_per_chunk), chunk_of_rows, t);
}

static void panel_rows(const linear_task *t, int64_t begin, int64_t end) {
  t->call.kernels->panel(&t->panel, begin, end);
}

static void finish_rows(const linear_task *t, int64_t begin, int64_t end) {
  t->call.kernels->finish(&t->panel, begin, end);
}

static void scale_rows(const linear_task *t, int64_t begin, int64_t end) {
  t->call.kernels->scale(&t->scaling, begin, end);
}

// The losses, factors and exponentials of t->rows rows from `first` on.
static kiln_status softmax(kiln_context *ctx, linear_task *t, int64_t first, const kiln_tensor *x) {
  kiln_gemm_options o = kiln_gemm_defaults();
  o.transpose_b = 1;
  const kiln__loss_call *call = &t->call;
  char *losses = kiln__data(call->options.losses);
  t->panel = (kiln__loss_panel){
      .logits = kiln__data(&t->logits), .ldlogits = t->logits.strides[0], .exps = kiln__data(&t->exps),
      .ldexps = t->exps.strides[0], .shift = t->shift, .sum = t->sum, .chosen = t->chosen, .factor = t->factor,
      .targets = ctx->query ? NULL : call->targets + first, .terms = ctx->query ? NULL : call->terms + first,
      .losses = losses ? losses + first * (int64_t)kiln_dtype_size(kiln__wide(call->dtype)) : NULL,
      .headroom = kiln__loss_headroom(call->dtype), .ignore = call->options.ignore};
  for (int64_t j = 0; j < call->v; j += t->panel.cols) {
    t->panel.first = j;
    t->panel.cols = kiln__min(PANEL_COLS, call->v - j);
    kiln_tensor logits = kiln__part(&t->logits, 0, 0, t->rows), w = kiln__part(t->w, 0, j, t->panel.cols);
    logits.shape[1] = t->panel.cols;
    KILN_TRY(kiln__gemm(ctx, &logits, x, &w, &o));
    for_rows(ctx, t, t->panel.cols, panel_rows);
  }
  for_rows(ctx, t, 1, finish_rows);
  return KILN_OK;
}

// y = x, each row times its factor
static void scale(const kiln_context *ctx, linear_task *t, const kiln_tensor *y, const kiln_tensor *x) {
  t->scaling = (kiln__loss_scaling){
      .y = kiln__data(y), .x = kiln__data(x), .factor = t->factor, .cols = x->shape[1], .ldy = y->strides[0],
      .ldx = x->strides[0], .wide = x->dtype != t->call.dtype};
  for_rows(ctx, t, x->shape[1], scale_rows);
}

// Rows first ..< first + t->rows. In query mode the products only note their scratch.
static kiln_status block(kiln_context *ctx, linear_task *t, int64_t first) {
  kiln_tensor x = kiln__part(t->x, 0, first, t->rows);
  KILN_TRY(softmax(ctx, t, first, &x));
  kiln_tensor exps = t->exps;
  exps.shape[0] = t->rows;
  kiln_gemm_options o = kiln_gemm_defaults();
  o.alpha = t->call.options.scale / KILN_LOSS_FACTOR;
  if (t->dx) {
    kiln_tensor dx = kiln__part(t->dx, 0, first, t->rows), sums = kiln__part(&t->unscaled_dx, 0, 0, t->rows);
    KILN_TRY(kiln__gemm(ctx, &sums, &exps, t->w, &o));
    scale(ctx, t, &dx, &sums);
  }
  if (t->dw) {
    kiln_tensor scaled = kiln__part(&t->scaled_x, 0, 0, t->rows);
    o.transpose_a = 1;
    o.accumulate = first > 0 || t->call.options.accumulate_dw;
    scale(ctx, t, &scaled, &x);
    KILN_TRY(kiln__gemm(ctx, t->dw, &exps, &scaled, &o));
  }
  return KILN_OK;
}

// A matrix with stride 1 in its last dimension.
static kiln_status check_rows(kiln_context *ctx, const char *name, const kiln_tensor *t) {
  kiln__rows rows;
  return kiln__fold(ctx, name, t, &rows);
}

static kiln_status check(kiln_context *ctx, linear_task *t) {
  KILN_TRY(kiln__check_real(ctx, "x", t->x, &t->call.dtype));
  KILN_TRY(kiln__check_dtype(ctx, "w", t->w, t->call.dtype));
  if (t->x->rank != 2 || t->w->rank != 2 || t->x->shape[1] != t->w->shape[1]) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "x is %s, w is %s, not [n, c] and [v, c]", kiln__shape_text(t->x).s,
                      kiln__shape_text(t->w).s);
  }
  if (t->dx) KILN_TRY(kiln__check_like(ctx, "dx", t->dx, "x", t->x));
  if (t->dw) {
    kiln_tensor wide = *t->w;
    wide.dtype = kiln__wide(t->call.dtype);
    KILN_TRY(kiln__check_like(ctx, "dw", t->dw, "w", &wide));
  }
  KILN_TRY(check_rows(ctx, "x", t->x));
  KILN_TRY(check_rows(ctx, "w", t->w));
  KILN_TRY(check_rows(ctx, "dx", t->dx));
  KILN_TRY(check_rows(ctx, "dw", t->dw));
  t->call.n = t->x->shape[0];
  t->call.v = t->w->shape[0];
  int64_t logits;
  if (!__builtin_mul_overflow(t->call.n, t->call.v + 64, &logits) && logits <= INT64_MAX / 64) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_OVERFLOW, "%lld rows of %lld logits cannot be addressed", (long long)t->call.n,
                    (long long)t->call.v);
}

kiln_status kiln_linear_cross_entropy(kiln_context *ctx, const kiln_tensor *loss, const kiln_tensor *dx,
                                      const kiln_tensor *dw, const kiln_tensor *x, const kiln_tensor *w,
                                      const kiln_tensor *targets, const kiln_cross_entropy_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "linear_cross_entropy"));
  linear_task t = {.dx = dx, .dw = dw, .x = x, .w = w};
  KILN_TRY(check(ctx, &t));
  KILN_TRY(kiln__loss_begin(ctx, &t.call, loss, targets, options));
  if (ctx->cl) return kiln__linear_cross_entropy_opencl(ctx, &t.call, dx, dw, x, w);
  KILN_TRY(take_scratch(ctx, &t));
  int64_t n = t.call.n, first = 0;
  do {  // once for no rows at all: dw is still to be set to 0
    t.rows = kiln__min(t.logits.shape[0], n - first);
    KILN_TRY(block(ctx, &t, first));
    first += t.rows;
  } while (first < n);
  if (!ctx->query) kiln__loss_end(&t.call);
  return KILN_OK;
}
