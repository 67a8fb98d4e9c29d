// Between a sparse matrix's values and the dense matrix.
#include "sparse/sparse.h"

typedef struct copy_task {
  const kiln__sparse *w;
  char *values, *dense;
  int64_t item, row, col;  // bytes of an element, strides of the dense matrix
} copy_task;

enum { PART = 16 };  // rows of blocks

static void gather_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const copy_task *t = arg;
  const kiln__sparse *w = t->w;
  int64_t area = w->block_rows * w->block_cols, row, col;
  for (int64_t r = part * PART; r < kiln__min((part + 1) * PART, w->row_blocks); r++) {
    for (int64_t e = kiln__sparse_begin(w, r); e < kiln__sparse_begin(w, r + 1); e++) {
      for (int64_t i = 0; i < area; i++) {
        char *to = t->values + (e * area + i) * t->item;
        bool inside = kiln__sparse_element(w, r, e, i, &row, &col);
        if (inside) memcpy(to, t->dense + (row * t->row + col * t->col) * t->item, (size_t)t->item);
        else memset(to, 0, (size_t)t->item);
      }
    }
  }
}

static void insert_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const copy_task *t = arg;
  const kiln__sparse *w = t->w;
  int64_t area = w->block_rows * w->block_cols, end = kiln__min((part + 1) * PART, w->row_blocks), row, col;
  for (int64_t r = part * PART; r < end; r++) {
    for (int64_t e = kiln__sparse_begin(w, r); e < kiln__sparse_begin(w, r + 1); e++) {
      for (int64_t i = 0; i < area; i++) {
        if (!kiln__sparse_element(w, r, e, i, &row, &col)) continue;
        memcpy(t->dense + (row * t->row + col * t->col) * t->item, t->values + (e * area + i) * t->item,
               (size_t)t->item);
      }
    }
  }
}

static void scatter_part(void *arg, int64_t part, int thread) {
  const copy_task *t = arg;
  const kiln__sparse *w = t->w;
  int64_t end = kiln__min((part + 1) * PART * w->block_rows, w->rows);
  for (int64_t row = part * PART * w->block_rows; row < end; row++) {
    for (int64_t col = 0; col < w->cols; col++) {
      memset(t->dense + (row * t->row + col * t->col) * t->item, 0, (size_t)t->item);
    }
  }
  insert_part(arg, part, thread);
}

static kiln_status copy(kiln_context *ctx, const kiln_tensor *values, const kiln_tensor *dense, const kiln_sparse *w,
                        kiln__body body) {
  kiln_dtype dtype;
  kiln__sparse view;
  KILN_TRY(kiln__check_real(ctx, "dense", dense, &dtype));
  KILN_TRY(kiln__sparse_view(ctx, w, "values", values, dtype, &view));
  if (dense->rank != 2 || dense->shape[0] != view.rows || dense->shape[1] != view.cols) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "dense is %s for a sparse matrix of %lld x %lld", kiln__shape_text(dense).s,
                      (long long)view.rows, (long long)view.cols);
  }
  if (ctx->query) return KILN_OK;
  copy_task t = {&view, kiln__data(values), kiln__data(dense), (int64_t)kiln_dtype_size(dtype), dense->strides[0],
                 dense->strides[1]};
  kiln__parallel_for(ctx, kiln__ceil_div(view.row_blocks, PART), body, &t);
  return KILN_OK;
}

kiln_status kiln_sparse_gather(kiln_context *ctx, const kiln_tensor *values, const kiln_tensor *dense,
                               const kiln_sparse *w) {
  KILN_TRY(kiln__begin(ctx, "sparse_gather"));
  return copy(ctx, values, dense, w, gather_part);
}

kiln_status kiln_sparse_scatter(kiln_context *ctx, const kiln_tensor *dense, const kiln_tensor *values,
                                const kiln_sparse *w) {
  KILN_TRY(kiln__begin(ctx, "sparse_scatter"));
  return copy(ctx, values, dense, w, scatter_part);
}

kiln_status kiln_sparse_insert(kiln_context *ctx, const kiln_tensor *dense, const kiln_tensor *values,
                               const kiln_sparse *w) {
  KILN_TRY(kiln__begin(ctx, "sparse_insert"));
  return copy(ctx, values, dense, w, insert_part);
}
