// The plain loops, for fp32, fp64 and bf16.
#ifndef REAL
#define KILN_REFERENCE "attention/ref.c"
#include "core/reference.h"
#else

#define ROW(x, b, t, h) ((ELEMENT *)kiln__heads_row(&(x), b, t, h, sizeof(ELEMENT)))
#define LSE(a, b, t, h) ((REAL *)kiln__heads_row(&(a)->lse, b, t, h, sizeof(REAL)))
enum { REF(BLOCK) = 16 };

static size_t REF(scratch)(const kiln__attention_args *a) { return (size_t)(a->tk + a->d) * sizeof(REAL); }

static REAL REF(dot)(const ELEMENT *x, const ELEMENT *y, int64_t d) {
  REAL sum = 0;
  for (int64_t c = 0; c < d; c++) sum += GET(x[c]) * GET(y[c]);
  return sum;
}

// y += alpha x
static void REF(axpy)(REAL *y, REAL alpha, const ELEMENT *x, int64_t d) {
  for (int64_t c = 0; c < d; c++) y[c] += alpha * GET(x[c]);
}

static void REF(zero)(REAL *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) x[i] = 0;
}

static void REF(put)(ELEMENT *to, const REAL *from, int64_t d) {
  for (int64_t c = 0; c < d; c++) to[c] = PUT(from[c]);
}

static void REF(add)(void *to, int64_t ldto, const void *from, int64_t ldfrom, int64_t n, int64_t d) {
  for (int64_t i = 0; i < n; i++) {
    for (int64_t c = 0; c < d; c++) ((REAL *)to)[i * ldto + c] += ((const REAL *)from)[i * ldfrom + c];
  }
}

static void REF(store)(void *to, int64_t ldto, const void *from, int64_t ldfrom, int64_t n, int64_t d) {
  for (int64_t i = 0; i < n; i++) REF(put)((ELEMENT *)to + i * ldto, (const REAL *)from + i * ldfrom, d);
}

// s[j] = scale q . k_j for the n visible keys; the log of the sum of their exponentials
static REAL REF(scores)(const kiln__attention_args *a, REAL *s, int64_t n, int64_t b, int64_t i, int64_t h) {
  const ELEMENT *q = ROW(a->q, b, i, h);
  REAL max = -(REAL)INFINITY, sum = 0;
  for (int64_t j = 0; j < n; j++) {
    s[j] = (REAL)a->scale * REF(dot)(q, ROW(a->k, b, j, h / a->group), a->d);
    max = s[j] > max ? s[j] : max;
  }
  for (int64_t j = 0; j < n; j++) sum += (REAL)exp(s[j] - max);
  return n > 0 ? max + (REAL)log(sum) : -(REAL)INFINITY;
}

static void REF(fwd)(const kiln__attention_args *a, int64_t b, int64_t h, int64_t block, void *scratch) {
  REAL *s = scratch, *o = s + a->tk;
  int64_t end = kiln__min((block + 1) * REF(BLOCK), a->tq);
  for (int64_t i = block * REF(BLOCK); i < end; i++) {
    int64_t n = kiln__visible_keys(a, i);
    REAL lse = REF(scores)(a, s, n, b, i, h);
    REF(zero)(o, a->d);
    for (int64_t j = 0; j < n; j++) REF(axpy)(o, (REAL)exp(s[j] - lse), ROW(a->v, b, j, h / a->group), a->d);
    REF(put)(ROW(a->o, b, i, h), o, a->d);
    if (a->lse.data) *LSE(a, b, i, h) = lse;
  }
}

// What query i of head h adds to the gradients.
static void REF(bwd_query)(const kiln__attention_args *a, REAL *s, int64_t b, int64_t i, int64_t h,
                           const kiln__attention_target *target) {
  int64_t n = kiln__visible_keys(a, i), hkv = h / a->group;
  const ELEMENT *q = ROW(a->q, b, i, h), *d_o = ROW(a->d_o, b, i, h);
  REAL *dq = s + a->tk, lse = *LSE(a, b, i, h), delta = REF(dot)(d_o, ROW(a->o, b, i, h), a->d);
  REF(scores)(a, s, n, b, i, h);
  REF(zero)(dq, a->d);
  for (int64_t j = 0; j < n; j++) {
    const ELEMENT *k = ROW(a->k, b, j, hkv), *v = ROW(a->v, b, j, hkv);
    REAL p = (REAL)exp(s[j] - lse), ds = p * (REF(dot)(d_o, v, a->d) - delta) * (REAL)a->scale;
    REF(axpy)((REAL *)target->dv + j * target->ldv, p, d_o, a->d);
    REF(axpy)((REAL *)target->dk + j * target->ldk, ds, q, a->d);
    REF(axpy)(dq, ds, k, a->d);
  }
  REF(put)(ROW(a->dq, b, i, h), dq, a->d);
}

static void REF(bwd)(const kiln__attention_args *a, int64_t b, int64_t hkv, int64_t first, int64_t step,
                     const kiln__attention_target *target, void *scratch) {
  for (int64_t j = 0; j < a->tk; j++) {
    REF(zero)((REAL *)target->dk + j * target->ldk, a->d);
    REF(zero)((REAL *)target->dv + j * target->ldv, a->d);
  }
  int64_t blocks = kiln__ceil_div(a->tq, REF(BLOCK));
  for (int64_t item = first; item < a->group * blocks; item += step) {
    int64_t begin = item % blocks * REF(BLOCK), end = kiln__min(begin + REF(BLOCK), a->tq);
    for (int64_t i = begin; i < end; i++) REF(bwd_query)(a, scratch, b, i, hkv * a->group + item / blocks, target);
  }
}

const kiln__attention_kernels REF(kiln__attention_ref) = {REF(BLOCK), REF(scratch), REF(fwd),
                                                          REF(bwd),   REF(add),     REF(store)};
#undef ROW
#undef LSE
#endif
