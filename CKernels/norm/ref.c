// The plain loops, for fp32, fp64, bf16 and f16.
#ifndef REAL
#define KILN_REFERENCE "norm/ref.c"
#include "core/reference.h"
#else

// mean and 1 / standard deviation of a row
static void REF(statistics)(const kiln__norm_args *a, const ELEMENT *x, REAL *mean, REAL *r) {
  REAL sum = 0, square = 0;
  for (int64_t i = 0; i < a->c; i++) sum += GET(x[i]);
  *mean = a->center ? sum / a->c : 0;
  for (int64_t i = 0; i < a->c; i++) square += (GET(x[i]) - *mean) * (GET(x[i]) - *mean);
  *r = 1 / (REAL)sqrt(square / a->c + a->eps);
}

static void REF(fwd)(const kiln__norm_args *a, int64_t begin, int64_t end) {
  const REAL *gain = a->gain, *bias = a->bias;
  for (int64_t row = begin; row < end; row++) {
    const ELEMENT *x = (const ELEMENT *)a->x + row * a->ldx;
    ELEMENT *y = (ELEMENT *)a->y + row * a->ldy;
    REAL mean, r;
    REF(statistics)(a, x, &mean, &r);
    for (int64_t i = 0; i < a->c; i++) {
      y[i] = PUT((GET(x[i]) - mean) * r * (gain ? gain[i] : 1) + (bias ? bias[i] : 0));
    }
  }
}

static void REF(bwd)(const kiln__norm_args *a, void *dgain_, void *dbias_, int64_t begin, int64_t end) {
  REAL *dgain = dgain_, *dbias = dbias_;
  const REAL *gain = a->gain;
  for (int64_t i = 0; i < a->c && dgain; i++) dgain[i] = 0;
  for (int64_t i = 0; i < a->c && dbias; i++) dbias[i] = 0;
  for (int64_t row = begin; row < end; row++) {
    const ELEMENT *x = (const ELEMENT *)a->x + row * a->ldx, *dy = (const ELEMENT *)a->dy + row * a->lddy;
    REAL mean, r, mean_u = 0, mean_ux = 0;
    REF(statistics)(a, x, &mean, &r);
    for (int64_t i = 0; i < a->c; i++) {
      REAL u = GET(dy[i]) * (gain ? gain[i] : 1), xhat = (GET(x[i]) - mean) * r;
      mean_u += u / a->c;
      mean_ux += u * xhat / a->c;
      if (dgain) dgain[i] += GET(dy[i]) * xhat;
      if (dbias) dbias[i] += GET(dy[i]);
    }
    if (!a->dx) continue;
    ELEMENT *dx = (ELEMENT *)a->dx + row * a->lddx;
    for (int64_t i = 0; i < a->c; i++) {
      REAL u = GET(dy[i]) * (gain ? gain[i] : 1), xhat = (GET(x[i]) - mean) * r;
      REAL d = r * (u - (a->center ? mean_u : 0) - xhat * mean_ux);
      dx[i] = PUT(a->accumulate_dx ? GET(dx[i]) + d : d);
    }
  }
}

const kiln__norm_kernels REF(kiln__norm_ref) = {REF(fwd), REF(bwd)};
#endif
