// The plain loops, for fp32 and fp64.
#ifndef REAL
#define KILN_REFERENCE "loss/ref.c"
#include "core/reference.h"
#else

static REAL REF(row)(const kiln__loss_args *a, REAL *d, const REAL *x, int32_t target) {
  REAL max = x[0], sum = 0, chosen = x[target];
  for (int64_t i = 1; i < a->v; i++) max = x[i] > max ? x[i] : max;
  for (int64_t i = 0; i < a->v; i++) sum += (REAL)exp(x[i] - max);
  for (int64_t i = 0; i < a->v && d; i++) {
    REAL p = (REAL)exp(x[i] - max) / sum;
    d[i] = a->scale * (i == target ? p - 1 : p);
  }
  return (REAL)log(sum) + (max - chosen);
}

static void REF(cross_entropy)(const kiln__loss_args *a, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const REAL *x = (const REAL *)a->logits + row * a->ldlogits;
    REAL *d = a->dlogits ? (REAL *)a->dlogits + row * a->lddlogits : NULL;
    bool ignored = a->targets[row] == a->ignore;
    REAL loss = ignored ? 0 : REF(row)(a, d, x, a->targets[row]);
    for (int64_t i = 0; i < a->v && d && ignored; i++) d[i] = 0;
    if (a->losses) ((REAL *)a->losses)[row] = loss;
    a->terms[row] = loss;
  }
}

const kiln__loss_kernels REF(kiln__loss_ref) = {REF(cross_entropy)};
#endif
