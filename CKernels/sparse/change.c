// What a pattern is chosen by, and values that follow when it changes.
#include "sparse/sparse.h"

typedef struct norm_task {
  kiln_dtype dtype;
  const void *x;
  int64_t rows, cols, row_stride, col_stride, block_rows, block_cols, col_blocks;
  float *norms;
} norm_task;

static double square_at(const norm_task *t, int64_t row, int64_t col) {
  double x = kiln__sparse_real(t->dtype, t->x, row * t->row_stride + col * t->col_stride);
  return x * x;
}

static void norm_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const norm_task *t = arg;
  int64_t row_end = kiln__min((part + 1) * t->block_rows, t->rows);
  for (int64_t block = 0; block < t->col_blocks; block++) {
    int64_t col_end = kiln__min((block + 1) * t->block_cols, t->cols);
    double sum = 0;
    for (int64_t row = part * t->block_rows; row < row_end; row++) {
      for (int64_t col = block * t->block_cols; col < col_end; col++) sum += square_at(t, row, col);
    }
    t->norms[part * t->col_blocks + block] = (float)sqrt(sum);
  }
}

kiln_status kiln_block_norms(kiln_context *ctx, const kiln_tensor *norms, const kiln_tensor *x, int32_t block_rows,
                             int32_t block_cols) {
  KILN_TRY(kiln__begin(ctx, "block_norms"));
  kiln_dtype dtype;
  KILN_TRY(kiln__check_real(ctx, "x", x, &dtype));
  KILN_TRY(kiln__check_dtype(ctx, "norms", norms, KILN_F32));
  KILN_TRY(kiln__check_dense(ctx, "norms", norms));
  if (x->rank != 2) return kiln__fail(ctx, KILN_ERR_SHAPE, "x is %s, not a matrix", kiln__shape_text(x).s);
  if (block_rows < 1 || block_cols < 1) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "blocks of %d x %d", block_rows, block_cols);
  }
  int64_t shape[2] = {kiln__ceil_div(x->shape[0], block_rows), kiln__ceil_div(x->shape[1], block_cols)};
  kiln_tensor like = kiln_tensor_dense(NULL, KILN_F32, 2, shape);
  KILN_TRY(kiln__check_like(ctx, "norms", norms, "the blocks", &like));
  if (ctx->query) return KILN_OK;
  norm_task t = {dtype, kiln__data(x), x->shape[0], x->shape[1], x->strides[0], x->strides[1], block_rows, block_cols,
                 shape[1], kiln__data(norms)};
  kiln__parallel_for(ctx, shape[0], norm_part, &t);
  return KILN_OK;
}

typedef struct move_task {
  const kiln__sparse *from, *to;
  const char *old;
  char *values;
  size_t bytes;  // of a block
} move_task;

// Whether row of blocks r has a column: looked for from entry *e on, which is moved there, as both ascend.
static bool seek(const kiln__sparse *w, int64_t r, int64_t column, int64_t *e) {
  int64_t end = kiln__sparse_begin(w, r + 1);
  while (*e < end && kiln__sparse_column(w, r, *e) < column) ++*e;
  return *e < end && kiln__sparse_column(w, r, *e) == column;
}

static void move_part(void *arg, int64_t r, int thread) {
  (void)thread;
  const move_task *t = arg;
  int64_t e = kiln__sparse_begin(t->from, r);
  for (int64_t new = kiln__sparse_begin(t->to, r); new < kiln__sparse_begin(t->to, r + 1); new++) {
    bool was_there = seek(t->from, r, kiln__sparse_column(t->to, r, new), &e);
    char *value = t->values + (size_t)new * t->bytes;
    if (was_there) memcpy(value, t->old + (size_t)e * t->bytes, t->bytes);
    else memset(value, 0, t->bytes);
  }
}

static kiln_status check_same(kiln_context *ctx, const kiln__sparse *a, const kiln__sparse *b) {
  if (a->rows == b->rows && a->cols == b->cols && a->block_rows == b->block_rows && a->block_cols == b->block_cols
      && a->kept == b->kept && a->group == b->group) {
    return KILN_OK;
  }
  return kiln__fail(ctx, KILN_ERR_SHAPE, "the two patterns are of different formats or shapes");
}

kiln_status kiln_sparse_move(kiln_context *ctx, const kiln_tensor *y, const kiln_sparse *to, const kiln_tensor *x,
                             const kiln_sparse *from) {
  KILN_TRY(kiln__begin(ctx, "sparse_move"));
  kiln_dtype dtype;
  kiln__sparse old, new;
  KILN_TRY(kiln__check_real(ctx, "x", x, &dtype));
  KILN_TRY(kiln__sparse_view(ctx, from, "x", x, dtype, &old));
  KILN_TRY(kiln__sparse_view(ctx, to, "y", y, dtype, &new));
  KILN_TRY(check_same(ctx, &old, &new));
  size_t bytes = (size_t)(old.block_rows * old.block_cols) * kiln_dtype_size(dtype), size = (size_t)old.count * bytes;
  move_task t = {&old, &new, kiln__data(x), kiln__data(y), bytes};
  if (ctx->query || t.old == t.values) {
    void *copy;
    KILN_TRY(kiln__scratch(ctx, size, &copy));
    if (ctx->query) return KILN_OK;
    memcpy(copy, t.old, size);
    t.old = copy;
  }
  kiln__parallel_for(ctx, old.row_blocks, move_part, &t);
  return KILN_OK;
}

typedef struct decay_task {
  const kiln__sparse *whole, *part;
  kiln_dtype dtype;
  const void *x;
  void *dy;
  double inside, beyond;
} decay_task;

static void decay_block(const decay_task *t, int64_t e, double factor) {
  int64_t area = t->whole->block_rows * t->whole->block_cols;
  for (int64_t i = e * area; i < (e + 1) * area; i++) {
    double added = factor * kiln__sparse_real(t->dtype, t->x, i);
    if (t->dtype == KILN_F64) ((double *)t->dy)[i] += added;
    else ((float *)t->dy)[i] += (float)added;
  }
}

static void decay_part(void *arg, int64_t r, int thread) {
  (void)thread;
  const decay_task *t = arg;
  int64_t p = kiln__sparse_begin(t->part, r);
  for (int64_t e = kiln__sparse_begin(t->whole, r); e < kiln__sparse_begin(t->whole, r + 1); e++) {
    bool is_inside = seek(t->part, r, kiln__sparse_column(t->whole, r, e), &p);
    decay_block(t, e, is_inside ? t->inside : t->beyond);
  }
}

kiln_status kiln_sparse_decay(kiln_context *ctx, const kiln_tensor *dy, const kiln_tensor *x, const kiln_sparse *whole,
                              const kiln_sparse *part, double inside, double beyond) {
  KILN_TRY(kiln__begin(ctx, "sparse_decay"));
  kiln_dtype dtype;
  kiln__sparse all, some;
  KILN_TRY(kiln__check_real(ctx, "x", x, &dtype));
  KILN_TRY(kiln__sparse_view(ctx, whole, "x", x, dtype, &all));
  KILN_TRY(kiln__sparse_view(ctx, whole, "dy", dy, kiln__wide(dtype), &all));
  KILN_TRY(kiln__sparse_pattern(ctx, part, &some));
  KILN_TRY(check_same(ctx, &all, &some));
  if (ctx->query) return KILN_OK;
  decay_task t = {&all, &some, dtype, kiln__data(x), kiln__data(dy), inside, beyond};
  kiln__parallel_for(ctx, all.row_blocks, decay_part, &t);
  return KILN_OK;
}
