// The plain loops, for fp32 and fp64.
#ifndef REAL
#define KILN_REFERENCE "gemm/ref.c"
#include "core/reference.h"
#else

static REAL *REF(at)(const kiln__matrix *x, int64_t batch, int64_t i, int64_t j) {
  return (REAL *)x->data + batch * x->batch + i * x->row + j * x->col;
}

static void REF(direct)(const kiln__gemm_args *g, const kiln__gemm_part *p) {
  const kiln__gemm_finish *f = &g->finish;
  for (int64_t i = p->i; i < p->i + p->rows; i++) {
    for (int64_t j = p->j; j < p->j + p->cols; j++) {
      const REAL *a = REF(at)(&g->a, p->batch, i, 0), *b = REF(at)(&g->b, p->batch, 0, j), *bias = f->bias;
      REAL sum = 0;
      for (int64_t k = 0; k < g->k; k++) sum += a[k * g->a.col] * b[k * g->b.row];
      REAL v = f->alpha * sum + (bias ? bias[j] : 0), *c = REF(at)(&f->c, p->batch, i, j);
      if (f->preactivation.data) *REF(at)(&f->preactivation, p->batch, i, j) = v;
      v = REF(kiln__act_value)(f->activation, v);
      if (f->residual.data) v += *REF(at)(&f->residual, p->batch, i, j);
      *c = f->accumulate ? *c + v : v;
    }
  }
}

const kiln__gemm_kernels REF(kiln__gemm_ref) = {.direct = REF(direct)};
#endif
