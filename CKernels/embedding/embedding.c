// Checks and threads of table look-up and its gradient.
#include "opencl/launch.h"

typedef struct embedding_task {
  const kiln__embedding_kernels *kernels;
  kiln__embedding_args args;
  kiln__rows y, table;  // or their gradients
  int64_t table_item;   // bytes of an element of the table
  int64_t chunk;        // rows or columns in one
} embedding_task;

static kiln_status check_ids(kiln_context *ctx, const kiln_tensor *ids, const embedding_task *t) {
  KILN_TRY(kiln__check_dtype(ctx, "ids", ids, KILN_I32));
  KILN_TRY(kiln__check_dense(ctx, "ids", ids));
  int64_t count = kiln__count(ids);
  if (count == 0 ? t->y.rows != 0 : t->y.rows % count != 0) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "ids is %s: %lld elements do not divide %lld rows", kiln__shape_text(ids).s,
                      (long long)count, (long long)t->y.rows);
  }
  const int32_t *id = kiln__data(ids);
  // On a device nobody can look.
  for (int64_t i = 0; i < count && !ctx->query && !ctx->cl; i++) {
    if (id[i] < 0 || id[i] >= t->table.rows) {
      return kiln__fail(ctx, KILN_ERR_INDEX, "element %lld of ids is %d, outside 0 ..< %lld", (long long)i, id[i],
                        (long long)t->table.rows);
    }
  }
  return KILN_OK;
}

// Checks everything; `y` and `table` may be the gradients, whose names are given. The table is wide, or may have y's
// dtype too.
static kiln_status prepare(kiln_context *ctx, const char *y_name, const kiln_tensor *y, const char *table_name,
                           const kiln_tensor *table, bool may_be_narrow, const kiln_tensor *ids,
                           const kiln_embedding_options *options, embedding_task *t) {
  kiln_embedding_options o = kiln_embedding_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  kiln_dtype dtype;
  KILN_TRY(kiln__check_real(ctx, y_name, y, &dtype));
  KILN_TRY(kiln__check(ctx, table_name, table));
  bool narrow = may_be_narrow && table->dtype == dtype;
  if (!narrow) KILN_TRY(kiln__check_dtype(ctx, table_name, table, kiln__wide(dtype)));
  if (table->rank != 2 || y->rank < 1 || y->shape[y->rank - 1] != table->shape[1]) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "%s is %s, %s is %s, not [..., c] and [v, c]", y_name, kiln__shape_text(y).s,
                      table_name, kiln__shape_text(table).s);
  }
  KILN_TRY(kiln__fold(ctx, y_name, y, &t->y));
  KILN_TRY(kiln__fold(ctx, table_name, table, &t->table));
  KILN_TRY(check_ids(ctx, ids, t));
  t->kernels = ctx->kernels[dtype].embedding;
  t->table_item = (int64_t)kiln_dtype_size(table->dtype);
  t->args = (kiln__embedding_args){.ids = kiln__data(ids), .ids_count = kiln__count(ids), .rows = t->y.rows,
                                   .ldy = t->y.stride, .ld_table = t->table.stride, .wide_table = !narrow,
                                   .accumulate = o.accumulate};
  return KILN_OK;
}

static void fwd_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const embedding_task *t = arg;
  int64_t begin = chunk * t->chunk;
  t->kernels->fwd(&t->args, t->y.cols, begin, kiln__min(begin + t->chunk, t->y.rows));
}

static kiln_status fwd_opencl(kiln_context *ctx, const embedding_task *t, kiln_dtype dtype) {
  KILN_TRY(kiln__cl_takes_real(ctx, dtype));
  const kiln__embedding_args *a = &t->args;
  kiln__cl_grid grid = kiln__cl_each(t->y.cols, t->y.rows, 1);
  const char *name = a->wide_table ? "embedding_fwd_wide" : "embedding_fwd";
  return KILN_CL_LAUNCH(ctx, kiln__cl_of(KILN_CL_EMBEDDING, dtype), name, grid, CL_AT(t->y.data), CL_AT(t->table.data),
                        CL_AT(a->ids), CL_LONG(a->ids_count), CL_LONG(t->y.cols), CL_LONG(t->y.stride),
                        CL_LONG(t->table.stride), CL_LONG(t->table.rows), CL_INT(a->accumulate));
}

static kiln_status bwd_opencl(kiln_context *ctx, const embedding_task *t, const kiln_tensor *dtable, kiln_dtype dtype) {
  KILN_TRY(kiln__cl_takes_real(ctx, dtype));
  const kiln__embedding_args *a = &t->args;
  if (!a->accumulate) KILN_TRY(kiln__cl_zero(ctx, dtable));
  kiln__cl_grid grid = kiln__cl_each(t->y.cols, 1, 1);
  return KILN_CL_LAUNCH(ctx, kiln__cl_of(KILN_CL_EMBEDDING, dtype), "embedding_bwd", grid, CL_AT(t->table.data),
                        CL_AT(t->y.data), CL_AT(a->ids), CL_LONG(a->ids_count), CL_LONG(t->y.rows), CL_LONG(t->y.cols),
                        CL_LONG(t->y.stride), CL_LONG(t->table.stride), CL_LONG(t->table.rows));
}

kiln_status kiln_embedding_fwd(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *table,
                               const kiln_tensor *ids, const kiln_embedding_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "embedding_fwd"));
  embedding_task t = {0};
  KILN_TRY(prepare(ctx, "y", y, "table", table, true, ids, options, &t));
  if (ctx->cl) return fwd_opencl(ctx, &t, y->dtype);
  if (ctx->query || t.y.cols == 0) return KILN_OK;
  t.args.y = t.y.data;
  t.args.table = t.table.data;
  t.chunk = kiln__rows_per_chunk(t.y.cols);
  kiln__parallel_for(ctx, kiln__ceil_div(t.y.rows, t.chunk), fwd_chunk, &t);
  return KILN_OK;
}

static void zero_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const embedding_task *t = arg;
  int64_t begin = chunk * t->chunk, end = kiln__min(begin + t->chunk, t->table.rows);
  for (int64_t row = begin; row < end; row++) {
    memset((char *)t->table.data + row * t->table.stride * t->table_item, 0, (size_t)(t->table.cols * t->table_item));
  }
}

// Each thread has columns of its own, so that every element of dtable is summed in the order of i.
static void bwd_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const embedding_task *t = arg;
  int64_t begin = chunk * t->chunk;
  t->kernels->bwd(&t->args, begin, kiln__min(begin + t->chunk, t->y.cols));
}

kiln_status kiln_embedding_bwd(kiln_context *ctx, const kiln_tensor *dtable, const kiln_tensor *dy,
                               const kiln_tensor *ids, const kiln_embedding_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "embedding_bwd"));
  embedding_task t = {0};
  KILN_TRY(prepare(ctx, "dy", dy, "dtable", dtable, false, ids, options, &t));
  if (ctx->cl) return bwd_opencl(ctx, &t, dtable, dy->dtype);
  if (ctx->query || t.y.cols == 0) return KILN_OK;
  t.args.dy = t.y.data;
  t.args.dtable = t.table.data;
  t.chunk = kiln__rows_per_chunk(t.table.cols);
  if (!t.args.accumulate) kiln__parallel_for(ctx, kiln__ceil_div(t.table.rows, t.chunk), zero_chunk, &t);
  t.chunk = kiln__strip_columns(t.y.rows);
  kiln__parallel_for(ctx, kiln__ceil_div(t.y.cols, t.chunk), bwd_chunk, &t);
  return KILN_OK;
}
