// The plain loops, for fp32 and fp64.
#ifndef REAL
#define KILN_REFERENCE "optim/ref.c"
#include "core/reference.h"
#else

static void REF(sgd)(const kiln__sgd_args *a, int64_t begin, int64_t end) {
  REAL *w = a->w, *m = a->m;
  const REAL *g = a->g;
  REAL grad_scale = (REAL)a->grad_scale, weight_decay = (REAL)a->weight_decay, momentum = (REAL)a->momentum;
  for (int64_t i = begin; i < end; i++) {
    REAL d = grad_scale * g[i] + weight_decay * w[i];
    if (m) {
      m[i] = momentum * m[i] + d;
      d = a->nesterov ? d + momentum * m[i] : m[i];
    }
    w[i] -= (REAL)a->lr * d;
  }
}

static void REF(adam)(const kiln__adam_args *a, int64_t begin, int64_t end) {
  REAL *w = a->w, *m = a->m, *v = a->v;
  const REAL *g = a->g;
  for (int64_t i = begin; i < end; i++) {
    REAL d = (REAL)a->grad_scale * g[i] + (REAL)a->coupled_decay * w[i];
    m[i] = (REAL)a->keep_m * m[i] + (REAL)a->take_g * d;
    v[i] = (REAL)a->keep_v * v[i] + (REAL)a->take_g2 * d * d;
    REAL root = (REAL)sqrt(v[i]) * (REAL)a->root_scale + (REAL)a->eps;
    w[i] = w[i] * (REAL)a->decay - (REAL)a->step_size * (m[i] / root);
  }
}

const kiln__optim_kernels REF(kiln__optim_ref) = {REF(sgd), REF(adam)};
#endif
