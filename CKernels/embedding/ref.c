// The plain loops, for fp32, fp64, bf16 and f16.
#ifndef REAL
#define KILN_REFERENCE "embedding/ref.c"
#include "core/reference.h"
#else

static REAL REF(table)(const kiln__embedding_args *a, int64_t at) {
  return a->wide_table ? ((const REAL *)a->table)[at] : GET(((const ELEMENT *)a->table)[at]);
}

static void REF(fwd)(const kiln__embedding_args *a, int64_t c, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) {
    ELEMENT *y = (ELEMENT *)a->y + i * a->ldy;
    int64_t row = a->ids[i % a->ids_count] * a->ld_table;
    for (int64_t k = 0; k < c; k++) {
      REAL v = REF(table)(a, row + k);
      y[k] = PUT(a->accumulate ? GET(y[k]) + v : v);
    }
  }
}

static void REF(bwd)(const kiln__embedding_args *a, int64_t begin, int64_t end) {
  for (int64_t i = 0; i < a->rows; i++) {
    const ELEMENT *dy = (const ELEMENT *)a->dy + i * a->ldy;
    REAL *row = (REAL *)a->dtable + a->ids[i % a->ids_count] * a->ld_table;
    for (int64_t k = begin; k < end; k++) row[k] += GET(dy[k]);
  }
}

const kiln__embedding_kernels REF(kiln__embedding_ref) = {REF(fwd), REF(bwd)};
#endif
