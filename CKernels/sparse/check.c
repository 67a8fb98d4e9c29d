// Checks of sparse patterns.
#include "sparse/sparse.h"

static kiln_status check_numbers(kiln_context *ctx, const kiln_sparse *w) {
  if (w->rows < 0 || w->cols < 0 || w->rows > INT32_MAX || w->cols > INT32_MAX) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "a sparse matrix of %lld x %lld", (long long)w->rows, (long long)w->cols);
  }
  if (w->block_rows < 1 || w->block_rows > 256 || w->block_cols < 1 || w->block_cols > 256) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "blocks of %u x %u, not of 1 to 256", w->block_rows, w->block_cols);
  }
  if (!w->kept) return KILN_OK;
  if (w->group < 2 || w->group > 256 || w->kept > w->group || w->block_rows != 1 || w->block_cols != 1) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "%u kept of each %u, in blocks of %u x %u", w->kept, w->group,
                      w->block_rows, w->block_cols);
  }
  if (w->cols % w->group == 0) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_SHAPE, "%lld columns are not whole groups of %u", (long long)w->cols, w->group);
}

static kiln_status check_order(kiln_context *ctx, const kiln__sparse *w) {
  for (int64_t r = 0; r < w->row_blocks && !w->kept; r++) {
    if (w->offsets[r] < 0 || w->offsets[r] > w->offsets[r + 1] || w->offsets[r + 1] > w->count) {
      return kiln__fail(ctx, KILN_ERR_INDEX, "row of blocks %lld of a sparse matrix goes from %d to %d of %lld",
                        (long long)r, w->offsets[r], w->offsets[r + 1], (long long)w->count);
    }
  }
  if (!w->kept && w->row_blocks > 0 && (w->offsets[0] != 0 || w->offsets[w->row_blocks] != w->count)) {
    return kiln__fail(ctx, KILN_ERR_INDEX, "the rows of a sparse matrix have %d blocks from %d on, not %lld from 0",
                      w->offsets[w->row_blocks], w->offsets[0], (long long)w->count);
  }
  for (int64_t r = 0; r < w->row_blocks; r++) {
    int64_t before = -1;
    for (int64_t e = kiln__sparse_begin(w, r); e < kiln__sparse_begin(w, r + 1); e++) {
      bool in_group = !w->kept || w->places[e] < w->group;
      int64_t column = kiln__sparse_column(w, r, e);
      if (column > before && column < w->col_blocks && in_group) {
        before = column;
        continue;
      }
      return kiln__fail(ctx, KILN_ERR_INDEX, "block %lld of a sparse matrix, in row %lld, has column %lld of %lld",
                        (long long)e, (long long)r, (long long)column, (long long)w->col_blocks);
    }
  }
  return KILN_OK;
}

// Where the columns, or places, of a pattern are as many as it says; `out` has its sizes already.
static kiln_status check_columns(kiln_context *ctx, const kiln_sparse *w, kiln__sparse *out) {
  if (w->kept) {
    int64_t shape[2] = {w->rows, w->cols / w->group * w->kept};
    kiln_tensor like = kiln_tensor_dense(NULL, KILN_U8, 2, shape);
    KILN_TRY(kiln__check_dtype(ctx, "columns", w->columns, KILN_U8));
    KILN_TRY(kiln__check_like(ctx, "columns", w->columns, "its pattern", &like));
    out->places = kiln__data(w->columns);
  } else {
    KILN_TRY(kiln__check(ctx, "offsets", w->offsets));
    KILN_TRY(kiln__check_vector(ctx, "offsets", w->offsets, KILN_I32, out->row_blocks + 1));
    KILN_TRY(kiln__check_dense(ctx, "offsets", w->offsets));
    KILN_TRY(kiln__check(ctx, "columns", w->columns));
    KILN_TRY(kiln__check_vector(ctx, "columns", w->columns, KILN_I32, out->count));
    out->offsets = kiln__data(w->offsets);
    out->columns = kiln__data(w->columns);
  }
  KILN_TRY(kiln__check_dense(ctx, "columns", w->columns));
  return ctx->query ? KILN_OK : check_order(ctx, out);
}

// The sizes of a pattern; those of blocks have as many as `columns`.
static kiln_status check_sizes(kiln_context *ctx, const kiln_sparse *given, kiln_sparse *w, kiln__sparse *out) {
  *w = kiln_sparse_defaults();
  if (!given) return kiln__fail(ctx, KILN_ERR_OPTION, "the sparse pattern is missing");
  KILN_TRY(kiln__options(ctx, w, sizeof *w, given));
  KILN_TRY(check_numbers(ctx, w));
  *out = (kiln__sparse){.rows = w->rows, .cols = w->cols, .block_rows = w->block_rows, .block_cols = w->block_cols,
                        .row_blocks = kiln__ceil_div(w->rows, w->block_rows),
                        .col_blocks = kiln__ceil_div(w->cols, w->block_cols), .kept = w->kept, .group = w->group};
  if (w->kept) out->count = w->rows * (w->cols / w->group * w->kept);
  else if (w->columns && w->columns->rank == 1) out->count = w->columns->shape[0];
  return KILN_OK;
}

kiln_status kiln__sparse_pattern(kiln_context *ctx, const kiln_sparse *given, kiln__sparse *out) {
  kiln_sparse w;
  KILN_TRY(check_sizes(ctx, given, &w, out));
  return check_columns(ctx, &w, out);
}

kiln_status kiln__sparse_view(kiln_context *ctx, const kiln_sparse *given, const char *name, const kiln_tensor *values,
                              kiln_dtype dtype, kiln__sparse *out) {
  kiln_sparse w;
  KILN_TRY(check_sizes(ctx, given, &w, out));
  KILN_TRY(kiln__check_dtype(ctx, name, values, dtype));
  KILN_TRY(kiln__check_dense(ctx, name, values));
  int64_t area = out->block_rows * out->block_cols, count = out->count;
  if (values->rank != 2 || values->shape[1] != area || values->shape[0] > INT32_MAX / area) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "%s is %s, not [count, %lld]", name, kiln__shape_text(values).s,
                      (long long)area);
  }
  if (w.kept && values->shape[0] != count) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "%s is %s for %lld kept elements", name, kiln__shape_text(values).s,
                      (long long)count);
  }
  out->count = values->shape[0];
  return check_columns(ctx, &w, out);
}
