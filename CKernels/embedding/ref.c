// The plain loops, for fp32 and fp64.
#ifndef REAL
#define KILN_REFERENCE "embedding/ref.c"
#include "core/reference.h"
#else

static void REF(fwd)(const kiln__embedding_args *a, int64_t c, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) {
    REAL *y = (REAL *)a->y + i * a->ldy;
    const REAL *row = (const REAL *)a->table + a->ids[i % a->ids_count] * a->ld_table;
    for (int64_t k = 0; k < c; k++) y[k] = a->accumulate ? y[k] + row[k] : row[k];
  }
}

static void REF(bwd)(const kiln__embedding_args *a, int64_t begin, int64_t end) {
  for (int64_t i = 0; i < a->rows; i++) {
    const REAL *dy = (const REAL *)a->dy + i * a->ldy;
    REAL *row = (REAL *)a->dtable + a->ids[i % a->ids_count] * a->ld_table;
    for (int64_t k = begin; k < end; k++) row[k] += dy[k];
  }
}

const kiln__embedding_kernels REF(kiln__embedding_ref) = {REF(fwd), REF(bwd)};
#endif
