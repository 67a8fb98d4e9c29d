// The plain loops, for fp32, fp64, bf16 and f16.
#ifndef REAL
#define KILN_REFERENCE "gemm/ref.c"
#include "core/reference.h"
#else

static int64_t REF(at)(const kiln__matrix *x, int64_t batch, int64_t i, int64_t j) {
  return batch * x->batch + i * x->row + j * x->col;
}

// An element of c, preactivation, gradient_at or residual.
static REAL REF(read)(const kiln__gemm_finish *f, const kiln__matrix *x, int64_t batch, int64_t i, int64_t j) {
  int64_t at = REF(at)(x, batch, i, j);
  return kiln__is_narrow(f->dtype) ? GET(((ELEMENT *)x->data)[at]) : ((REAL *)x->data)[at];
}

static void REF(write)(const kiln__gemm_finish *f, const kiln__matrix *x, int64_t batch, int64_t i, int64_t j, REAL v) {
  int64_t at = REF(at)(x, batch, i, j);
  if (kiln__is_narrow(f->dtype)) ((ELEMENT *)x->data)[at] = PUT(v);
  else ((REAL *)x->data)[at] = v;
}

// Elements begin ..< end of bias_gradient: x's across * i, summed along k.
static void REF(sum)(const kiln__gemm_args *g, const ELEMENT *x, int64_t across, int64_t along, int64_t begin,
                     int64_t end) {
  REAL *sums = g->bias_gradient;
  for (int64_t i = begin; i < end; i++) {
    REAL sum = 0;
    for (int64_t k = 0; k < g->k; k++) sum += GET(x[i * across + k * along]);
    sums[i] = g->finish.alpha * sum + (g->finish.accumulate ? sums[i] : 0);
  }
}

static void REF(bias_gradient)(const kiln__gemm_args *g, const kiln__gemm_part *p) {
  if (!g->bias_gradient) return;
  if (g->bias_gradient_of_b && p->i == 0) REF(sum)(g, g->b.data, g->b.col, g->b.row, p->j, p->j + p->cols);
  if (!g->bias_gradient_of_b && p->j == 0) REF(sum)(g, g->a.data, g->a.row, g->a.col, p->i, p->i + p->rows);
}

static void REF(direct)(const kiln__gemm_args *g, const kiln__gemm_part *p) {
  const kiln__gemm_finish *f = &g->finish;
  const REAL *bias = f->bias;
  REF(bias_gradient)(g, p);
  for (int64_t i = p->i; i < p->i + p->rows; i++) {
    for (int64_t j = p->j; j < p->j + p->cols; j++) {
      const ELEMENT *a = (ELEMENT *)g->a.data + REF(at)(&g->a, p->batch, i, 0);
      const ELEMENT *b = (ELEMENT *)g->b.data + REF(at)(&g->b, p->batch, 0, j);
      REAL sum = 0;
      for (int64_t k = 0; k < g->k; k++) sum += GET(a[k * g->a.col]) * GET(b[k * g->b.row]);
      REAL v = f->alpha * sum + (bias ? bias[j] : 0);
      if (f->preactivation.data) REF(write)(f, &f->preactivation, p->batch, i, j, v);
      if (f->gradient_at.data) v *= REF(kiln__act_slope)(f->activation, REF(read)(f, &f->gradient_at, p->batch, i, j));
      else v = REF(kiln__act_value)(f->activation, v);
      if (f->residual.data) v += REF(read)(f, &f->residual, p->batch, i, j);
      if (f->accumulate) v += REF(read)(f, &f->c, p->batch, i, j);
      REF(write)(f, &f->c, p->batch, i, j, v);
    }
  }
}

const kiln__gemm_kernels REF(kiln__gemm_ref) = {.direct = REF(direct)};
#endif
