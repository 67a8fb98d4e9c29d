// The plain loops of the gradient of a sparse matrix; those of products with one are in gemm/ref.c.
#ifndef REAL
#define KILN_REFERENCE "sparse/ref.c"
#include "sparse/sparse.h"
#include "core/reference.h"
#else

static void REF(plain)(const kiln__sparse_gradient_args *a) {
  const kiln__sparse *w = a->w;
  REAL *to = a->dvalues;
  const ELEMENT *dy = a->dy, *x = a->x;
  for (int64_t r = 0; r < w->row_blocks; r++) {
    for (int64_t e = kiln__sparse_begin(w, r); e < kiln__sparse_begin(w, r + 1); e++) {
      for (int64_t i = 0; i < w->block_rows * w->block_cols; i++, to++) {
        int64_t row, col;
        bool inside = kiln__sparse_element(w, r, e, i, &row, &col);
        REAL sum = 0;
        for (int64_t m = 0; m < a->rows && inside; m++) {
          sum += (REAL)GET(dy[m * a->ld_dy + row]) * (REAL)GET(x[m * a->ld_x + col]);
        }
        *to = a->accumulate ? *to + sum : sum;
      }
    }
  }
}

const kiln__sparse_kernels REF(kiln__sparse_ref) = {.plain = REF(plain)};
#endif
