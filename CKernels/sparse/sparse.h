// Sparse weights, between gemm.c and the files here.
#ifndef KILN_SPARSE_INTERNAL_H
#define KILN_SPARSE_INTERNAL_H

#include "core/parallel.h"
#include "simd/half.h"

#pragma GCC visibility push(hidden)

// Checks a pattern by itself.
kiln_status kiln__sparse_pattern(kiln_context *ctx, const kiln_sparse *w, kiln__sparse *out);

// Checks a pattern and the tensor of its values, or of their gradient, called `name`.
kiln_status kiln__sparse_view(kiln_context *ctx, const kiln_sparse *w, const char *name, const kiln_tensor *values,
                              kiln_dtype dtype, kiln__sparse *out);

// Entry e of row of blocks r: its column in blocks.
static inline int64_t kiln__sparse_column(const kiln__sparse *w, int64_t r, int64_t e) {
  if (!w->kept) return w->columns[e];
  return (e - r * (w->cols / w->group * w->kept)) / w->kept * w->group + w->places[e];
}

static inline int64_t kiln__sparse_begin(const kiln__sparse *w, int64_t r) {
  return w->kept ? r * (w->cols / w->group * w->kept) : w->offsets[r];
}

// Element i of entry e in row of blocks r: where it is in W, and whether it is not beyond its edges.
static inline bool kiln__sparse_element(const kiln__sparse *w, int64_t r, int64_t e, int64_t i, int64_t *row,
                                        int64_t *col) {
  *row = r * w->block_rows + i / w->block_cols;
  *col = kiln__sparse_column(w, r, e) * w->block_cols + i % w->block_cols;
  return *row < w->rows && *col < w->cols;
}

// Element `at` of values of a type.
static inline double kiln__sparse_real(kiln_dtype dtype, const void *x, int64_t at) {
  switch (dtype) {
    case KILN_BF16: return kiln__get_bf16(((const kiln__bf16 *)x)[at]);
    case KILN_F16: return kiln__get_f16(((const kiln__f16 *)x)[at]);
    case KILN_F64: return ((const double *)x)[at];
    default: return ((const float *)x)[at];
  }
}

static inline void kiln__sparse_put(kiln_dtype dtype, void *y, int64_t at, double v) {
  switch (dtype) {
    case KILN_BF16: ((kiln__bf16 *)y)[at] = kiln__put_bf16((float)v); break;
    case KILN_F16: ((kiln__f16 *)y)[at] = kiln__put_f16((float)v); break;
    case KILN_F64: ((double *)y)[at] = v; break;
    default: ((float *)y)[at] = (float)v;
  }
}

// Where an element of a matrix is.
static inline int64_t kiln__sparse_place(const kiln_tensor *t, int64_t row, int64_t col) {
  return row * t->strides[0] + col * t->strides[1];
}

// The lists of W, or of its transpose, in scratch. Element (step, row) of entry e lies at values + source[e] + row *
// row_stride + step * step_stride.
typedef struct kiln__sparse_layout {
  kiln__sparse_lists lists;
  int64_t row_stride, step_stride;
  const int32_t *source;
} kiln__sparse_layout;

// Steps of k in a chunk, for groups of one row and for those of several.
typedef struct kiln__sparse_chunks {
  int64_t of_row, of_rows;
} kiln__sparse_chunks;

kiln_status kiln__sparse_lay_out(kiln_context *ctx, const kiln__sparse *w, bool transposed,
                                 const kiln__sparse_chunks *chunk, kiln__sparse_layout *out);

// Fills lists.values; `dtype` is that of the values.
kiln_status kiln__sparse_fill(kiln_context *ctx, kiln__sparse_layout *layout, kiln_dtype dtype, const void *values);

// Rows of x and dy as gradients by slabs take them: `sums` at a time, cut into slabs of x, `width` wide, and of dy,
// KILN_SPARSE_WIDE wide.
typedef struct kiln__sparse_slabs {
  const kiln__sparse_kernels *kernels;
  const kiln__rows *x, *dy;
  int64_t item, width, sums;  // bytes of an element
  int64_t begin, rows;        // those that are cut now
  float *x_cut, *dy_cut;
} kiln__sparse_slabs;

// Takes the scratch of slabs, and calls `body` for `parts` parts with each run of rows.
kiln_status kiln__sparse_for_slabs(kiln_context *ctx, kiln__sparse_slabs *slabs, int64_t parts, kiln__body body,
                                   void *arg);

// The gradient where lists have KILN_SPARSE_WIDE rows, in the order of their entries; they are cleared.
kiln_status kiln__sparse_block_gradient(kiln_context *ctx, kiln_dtype dtype, const kiln__rows *x, const kiln__rows *dy,
                                        const kiln__sparse_lists *lists, float *gradients);

// The product with lists of KILN_SPARSE_WIDE rows, filled.
kiln_status kiln__sparse_block_product(kiln_context *ctx, const struct kiln__gemm_args *g,
                                       const kiln__sparse_lists *lists, int64_t depth);

// The same for N of each four, N below four, in the order of the values.
bool kiln__sparse_is_in_fours(const kiln__sparse *w);
kiln_status kiln__sparse_group_gradient(kiln_context *ctx, const kiln__sparse *view, kiln_dtype dtype,
                                        const kiln__rows *x, const kiln__rows *dy, float *to, bool accumulate);

// kiln_gemm with a sparse b, by the kernels of a's column.
kiln_status kiln__gemm_sparse(kiln_context *ctx, const kiln__gemm_args *g);

#pragma GCC visibility pop
#endif
