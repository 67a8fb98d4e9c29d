// Sums over rows and of squares: how they are cut for threads.
#include "opencl/launch.h"

typedef struct rows_task {
  const kiln__elementwise_kernels *kernels;
  const kiln__rows *x;
  char *out;
  int64_t out_item, x_item, strip;
  bool accumulate;
} rows_task;

static void sum_strip(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const rows_task *t = arg;
  int64_t from = chunk * t->strip, cols = kiln__min(t->strip, t->x->cols - from);
  t->kernels->sum_rows(t->out + from * t->out_item, (const char *)t->x->data + from * t->x_item, t->x->rows, cols,
                       t->x->stride, t->accumulate);
}

void kiln__sum_rows(const kiln_context *ctx, kiln_dtype dtype, void *out, const kiln__rows *x, bool accumulate) {
  rows_task t = {.kernels = ctx->kernels[dtype].elementwise, .x = x, .out = out,
                 .out_item = (int64_t)kiln_dtype_size(kiln__wide(dtype)), .x_item = (int64_t)kiln_dtype_size(dtype),
                 .strip = kiln__strip_columns(x->rows), .accumulate = accumulate};
  kiln__parallel_for(ctx, kiln__ceil_div(x->cols, t.strip), sum_strip, &t);
}

kiln_status kiln__sum_rows_opencl(kiln_context *ctx, kiln_dtype dtype, void *out, const kiln__rows *x,
                                  bool accumulate) {
  kiln__cl_program program = kiln__cl_of(KILN_CL_ELEMENTWISE, dtype);
  return KILN_CL_LAUNCH(ctx, program, "sum_rows", kiln__cl_each(x->cols, 1, 1), CL_AT(out), CL_AT(x->data),
                        CL_LONG(x->rows), CL_LONG(x->cols), CL_LONG(x->stride), CL_INT(accumulate));
}

enum { SQUARES_BLOCK = 4096, SQUARES_BLOCKS_PER_CHUNK = 16 };

typedef struct squares_task {
  const kiln__elementwise_kernels *kernels;
  const char *x;
  int64_t item, count, blocks;
  double *partial;
} squares_task;

static void squares_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const squares_task *t = arg;
  int64_t begin = chunk * SQUARES_BLOCKS_PER_CHUNK, end = kiln__min(begin + SQUARES_BLOCKS_PER_CHUNK, t->blocks);
  for (int64_t block = begin; block < end; block++) {
    int64_t from = block * SQUARES_BLOCK;
    t->partial[block] = t->kernels->sum_squares(t->x + from * t->item, kiln__min(SQUARES_BLOCK, t->count - from));
  }
}

static kiln_status squares_opencl(kiln_context *ctx, const squares_task *t, void *out, kiln_dtype dtype,
                                  bool accumulate) {
  KILN_TRY(kiln__cl_takes_real(ctx, dtype));
  KILN_TRY(KILN_CL_LAUNCH(ctx, kiln__cl_of(KILN_CL_ELEMENTWISE, dtype), "square_parts",
                          ((kiln__cl_grid){t->blocks, 1, 1, 1}), CL_AT(t->partial), CL_AT(t->x), CL_LONG(t->count)));
  return KILN_CL_LAUNCH(ctx, KILN_CL_ELEMENTWISE, "square_sum", ((kiln__cl_grid){1, 1, 1, 1}), CL_AT(out),
                        CL_AT(t->partial), CL_LONG(t->blocks), CL_INT(accumulate));
}

kiln_status kiln_sum_squares(kiln_context *ctx, const kiln_tensor *out, const kiln_tensor *x, bool accumulate) {
  KILN_TRY(kiln__begin_device(ctx, "sum_squares"));
  kiln_dtype dtype;
  KILN_TRY(kiln__check_real(ctx, "x", x, &dtype));
  KILN_TRY(kiln__check_dtype(ctx, "out", out, KILN_F64));
  if (kiln__count(out) != 1) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "out is %s, not one element", kiln__shape_text(out).s);
  }
  KILN_TRY(kiln__check_dense(ctx, "x", x));
  int64_t count = kiln__count(x);
  squares_task t = {ctx->kernels[dtype].elementwise, kiln__data(x), (int64_t)kiln_dtype_size(dtype), count,
                    kiln__ceil_div(count, SQUARES_BLOCK), NULL};
  KILN_TRY(kiln__scratch(ctx, (size_t)t.blocks * sizeof(double), (void **)&t.partial));
  if (ctx->cl) return squares_opencl(ctx, &t, kiln__data(out), dtype, accumulate);
  if (ctx->query) return KILN_OK;
  kiln__parallel_for(ctx, kiln__ceil_div(t.blocks, SQUARES_BLOCKS_PER_CHUNK), squares_chunk, &t);
  double sum = 0;
  for (int64_t block = 0; block < t.blocks; block++) sum += t.partial[block];
  double *result = kiln__data(out);
  *result = accumulate ? *result + sum : sum;
  return KILN_OK;
}
