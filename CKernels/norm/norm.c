// Checks and threads of layer and RMS normalisation.
#include "opencl/launch.h"

#include <stdatomic.h>

typedef struct norm_task {
  const kiln__norm_kernels *kernels;
  kiln__norm_args args;
  int64_t rows, rows_per_chunk, chunks;
  kiln_dtype dtype;
  char *partial_gain, *partial_bias;  // [chunks, c] each: what each chunk of rows adds to dgain and dbias
  char *dgain, *dbias;
  bool accumulate_params;
} norm_task;

static void cut(norm_task *t, int64_t most_chunks) {
  int64_t rows = kiln__max(kiln__rows_per_chunk(t->args.c), kiln__ceil_div(t->rows, most_chunks));
  t->rows_per_chunk = rows;
  t->chunks = kiln__ceil_div(t->rows, rows);
}

// Whether the result, `out`, is written past the cache; see kiln__spans_stream.
static bool is_streamed(const norm_task *t, const void *out) {
  int64_t row = t->args.c * (int64_t)kiln_dtype_size(t->dtype);
  bool in_place = out == t->args.x || out == t->args.dy || t->args.accumulate_dx;
  return row <= KILN_STREAM_ROW && t->rows * row >= KILN_STREAM_BYTES && !in_place;
}

static void fwd_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  norm_task *t = arg;
  int64_t begin = chunk * t->rows_per_chunk;
  t->kernels->fwd(&t->args, begin, kiln__min(begin + t->rows_per_chunk, t->rows));
  if (t->args.streamed) atomic_thread_fence(memory_order_seq_cst);
}

static kiln_status fwd_opencl(kiln_context *ctx, const norm_task *t) {
  const kiln__norm_args *a = &t->args;
  kiln__cl_grid grid = {a->c ? t->rows : 0, 1, 1, ctx->cl->group};
  return KILN_CL_LAUNCH(ctx, kiln__cl_of(KILN_CL_NORM, t->dtype), "norm_fwd", grid, CL_AT(a->y), CL_AT(a->x),
                        CL_AT(a->gain), CL_AT(a->bias), CL_LONG(a->c), CL_LONG(a->ldy), CL_LONG(a->ldx),
                        CL_FLOAT(a->eps), CL_INT(a->center));
}

static kiln_status fwd(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x, const kiln_tensor *gain,
                       const kiln_tensor *bias, const kiln_norm_options *options, bool center) {
  kiln_norm_options o = kiln_norm_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  norm_task t = {0};
  KILN_TRY(kiln__check_real(ctx, "x", x, &t.dtype));
  KILN_TRY(kiln__check_like(ctx, "y", y, "x", x));
  kiln__rows rx, ry;
  KILN_TRY(kiln__fold(ctx, "x", x, &rx));
  KILN_TRY(kiln__fold(ctx, "y", y, &ry));
  KILN_TRY(kiln__check_vector(ctx, "gain", gain, kiln__wide(t.dtype), rx.cols));
  KILN_TRY(kiln__check_vector(ctx, "bias", bias, kiln__wide(t.dtype), rx.cols));
  t.kernels = ctx->kernels[t.dtype].norm;
  t.args = (kiln__norm_args){.y = ry.data, .ldy = ry.stride, .x = rx.data, .ldx = rx.stride, .gain = kiln__data(gain),
                             .bias = kiln__data(bias), .c = rx.cols, .eps = o.eps, .center = center};
  t.rows = rx.rows;
  if (ctx->cl) {
    KILN_TRY(kiln__cl_takes_real(ctx, t.dtype));
    return fwd_opencl(ctx, &t);
  }
  if (ctx->query || rx.rows == 0 || rx.cols == 0) return KILN_OK;
  t.args.streamed = is_streamed(&t, ry.data);
  cut(&t, t.rows);
  kiln__parallel_for(ctx, t.chunks, fwd_chunk, &t);
  return KILN_OK;
}

static void bwd_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  norm_task *t = arg;
  int64_t begin = chunk * t->rows_per_chunk, line = t->args.c * (int64_t)kiln_dtype_size(kiln__wide(t->dtype));
  t->kernels->bwd(&t->args, t->partial_gain ? t->partial_gain + chunk * line : NULL,
                  t->partial_bias ? t->partial_bias + chunk * line : NULL, begin,
                  kiln__min(begin + t->rows_per_chunk, t->rows));
  if (t->args.streamed) atomic_thread_fence(memory_order_seq_cst);
}

// dx of every row, or only the rows' statistics.
static kiln_status rows_opencl(kiln_context *ctx, const norm_task *t, void *dx, void *stats) {
  const kiln__norm_args *a = &t->args;
  kiln__cl_grid grid = {a->c ? t->rows : 0, 1, 1, ctx->cl->group};
  return KILN_CL_LAUNCH(ctx, kiln__cl_of(KILN_CL_NORM, t->dtype), "norm_bwd", grid, CL_AT(dx), CL_AT(stats),
                        CL_AT(a->dy), CL_AT(a->x), CL_AT(a->gain), CL_LONG(a->c), CL_LONG(a->lddx), CL_LONG(a->lddy),
                        CL_LONG(a->ldx), CL_FLOAT(a->eps), CL_INT(a->center), CL_INT(a->accumulate_dx));
}

// The sums for gain and bias over the rows of each chunk, and those of the chunks. Then dx, which may take dy's place.
static kiln_status bwd_opencl(kiln_context *ctx, const norm_task *t, bool has_params) {
  const kiln__norm_args *a = &t->args;
  if (has_params) {
    void *stats;
    KILN_TRY(kiln__scratch(ctx, (size_t)t->rows * 2 * sizeof(float), &stats));
    KILN_TRY(rows_opencl(ctx, t, NULL, stats));
    kiln__cl_grid grid = kiln__cl_each(a->c, t->chunks, 1);
    KILN_TRY(KILN_CL_LAUNCH(ctx, kiln__cl_of(KILN_CL_NORM, t->dtype), "norm_params", grid, CL_AT(t->partial_gain),
                            CL_AT(t->partial_bias), CL_AT(stats), CL_AT(a->dy), CL_AT(a->x), CL_LONG(a->c),
                            CL_LONG(a->lddy), CL_LONG(a->ldx), CL_LONG(t->rows), CL_LONG(t->rows_per_chunk)));
    kiln__rows partial = {t->partial_gain, t->chunks, a->c, a->c};
    if (t->dgain) KILN_TRY(kiln__sum_rows_opencl(ctx, KILN_F32, t->dgain, &partial, t->accumulate_params));
    partial.data = t->partial_bias;
    if (t->dbias) KILN_TRY(kiln__sum_rows_opencl(ctx, KILN_F32, t->dbias, &partial, t->accumulate_params));
  }
  return a->dx ? rows_opencl(ctx, t, a->dx, NULL) : KILN_OK;
}

static kiln_status bwd(kiln_context *ctx, const kiln_tensor *dx, const kiln_tensor *dgain, const kiln_tensor *dbias,
                       const kiln_tensor *dy, const kiln_tensor *x, const kiln_tensor *gain,
                       const kiln_norm_options *options, bool center) {
  kiln_norm_options o = kiln_norm_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  norm_task t = {0};
  KILN_TRY(kiln__check_real(ctx, "x", x, &t.dtype));
  KILN_TRY(kiln__check_like(ctx, "dy", dy, "x", x));
  if (dx) KILN_TRY(kiln__check_like(ctx, "dx", dx, "x", x));
  kiln__rows rx, rdx, rdy;
  KILN_TRY(kiln__fold(ctx, "x", x, &rx));
  KILN_TRY(kiln__fold(ctx, "dy", dy, &rdy));
  KILN_TRY(kiln__fold(ctx, "dx", dx, &rdx));
  KILN_TRY(kiln__check_vector(ctx, "gain", gain, kiln__wide(t.dtype), rx.cols));
  KILN_TRY(kiln__check_vector(ctx, "dgain", dgain, kiln__wide(t.dtype), rx.cols));
  KILN_TRY(kiln__check_vector(ctx, "dbias", dbias, kiln__wide(t.dtype), rx.cols));
  t.kernels = ctx->kernels[t.dtype].norm;
  t.args = (kiln__norm_args){.dx = rdx.data, .lddx = rdx.stride, .dy = rdy.data, .lddy = rdy.stride, .x = rx.data,
                             .ldx = rx.stride, .gain = kiln__data(gain), .c = rx.cols, .eps = o.eps, .center = center,
                             .accumulate_dx = o.accumulate_dx};
  t.rows = rx.rows;
  t.args.streamed = dx && is_streamed(&t, rdx.data);
  cut(&t, 64);
  int64_t bytes = t.chunks * rx.cols * (int64_t)kiln_dtype_size(kiln__wide(t.dtype));
  if (dgain) KILN_TRY(kiln__scratch(ctx, (size_t)bytes, (void **)&t.partial_gain));
  if (dbias) KILN_TRY(kiln__scratch(ctx, (size_t)bytes, (void **)&t.partial_bias));
  t.dgain = kiln__data(dgain);
  t.dbias = kiln__data(dbias);
  t.accumulate_params = o.accumulate_params;
  if (ctx->cl) {
    KILN_TRY(kiln__cl_takes_real(ctx, t.dtype));
    return bwd_opencl(ctx, &t, dgain || dbias);
  }
  if (ctx->query || rx.cols == 0) return KILN_OK;
  kiln__parallel_for(ctx, t.chunks, bwd_chunk, &t);
  kiln__rows partial = {t.partial_gain, t.chunks, rx.cols, rx.cols};
  if (dgain) kiln__sum_rows(ctx, kiln__wide(t.dtype), t.dgain, &partial, o.accumulate_params);
  partial.data = t.partial_bias;
  if (dbias) kiln__sum_rows(ctx, kiln__wide(t.dtype), t.dbias, &partial, o.accumulate_params);
  return KILN_OK;
}

kiln_status kiln_layer_norm_fwd(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x, const kiln_tensor *gain,
                                const kiln_tensor *bias, const kiln_norm_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "layer_norm_fwd"));
  return fwd(ctx, y, x, gain, bias, options, true);
}

kiln_status kiln_layer_norm_bwd(kiln_context *ctx, const kiln_tensor *dx, const kiln_tensor *dgain,
                                const kiln_tensor *dbias, const kiln_tensor *dy, const kiln_tensor *x,
                                const kiln_tensor *gain, const kiln_norm_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "layer_norm_bwd"));
  return bwd(ctx, dx, dgain, dbias, dy, x, gain, options, true);
}

kiln_status kiln_rms_norm_fwd(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x, const kiln_tensor *gain,
                              const kiln_norm_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "rms_norm_fwd"));
  return fwd(ctx, y, x, gain, NULL, options, false);
}

kiln_status kiln_rms_norm_bwd(kiln_context *ctx, const kiln_tensor *dx, const kiln_tensor *dgain, const kiln_tensor *dy,
                              const kiln_tensor *x, const kiln_tensor *gain, const kiln_norm_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "rms_norm_bwd"));
  return bwd(ctx, dx, dgain, NULL, dy, x, gain, options, false);
}
