// The plain loops, for fp32, fp64, bf16 and f16.
#ifndef REAL
#define KILN_REFERENCE "attention/ref.c"
#include "core/reference.h"
#else

#define ROW(x, b, t, h) ((ELEMENT *)kiln__heads_row(&(x), b, t, h, sizeof(ELEMENT)))
#define LSE(a, b, t, h) ((REAL *)kiln__heads_row(&(a)->lse, b, t, h, sizeof(REAL)))
enum { REF(BLOCK) = 16 };

static size_t REF(scratch)(const kiln__attention_args *a, bool backward) {
  (void)backward;
  return (size_t)(a->tk + 2 * a->d) * sizeof(REAL);
}

// [group, tq, d]
static size_t REF(sums)(const kiln__attention_args *a) { return (size_t)(a->group * a->tq * a->d) * sizeof(REAL); }

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

// s[j] = scale q . k_j for the visible keys; the log of the sum of their exponentials
static REAL REF(scores)(const kiln__attention_args *a, REAL *s, kiln__span keys, int64_t b, int64_t i, int64_t h) {
  const ELEMENT *q = ROW(a->q, b, i, h);
  REAL max = -(REAL)INFINITY, sum = 0;
  for (int64_t j = keys.begin; j < keys.end; j++) {
    s[j] = (REAL)a->scale * REF(dot)(q, ROW(a->k, b, j, h / a->group), a->d);
    max = s[j] > max ? s[j] : max;
  }
  for (int64_t j = keys.begin; j < keys.end; j++) sum += (REAL)exp(s[j] - max);
  return keys.begin < keys.end ? max + (REAL)log(sum) : -(REAL)INFINITY;
}

static void REF(fwd)(const kiln__attention_args *a, int64_t b, int64_t h, kiln__span queries, void *scratch) {
  REAL *s = scratch, *o = s + a->tk;
  for (int64_t i = queries.begin; i < queries.end; i++) {
    kiln__span keys = kiln__visible(a, b, i);
    REAL lse = REF(scores)(a, s, keys, b, i, h);
    REF(zero)(o, a->d);
    for (int64_t j = keys.begin; j < keys.end; j++) {
      REF(axpy)(o, (REAL)exp(s[j] - lse), ROW(a->v, b, j, h / a->group), a->d);
    }
    REF(put)(ROW(a->o, b, i, h), o, a->d);
    if (a->lse.data) *LSE(a, b, i, h) = lse;
  }
}

// What key j adds to dq of query i, and query i to dk and dv of key j.
static void REF(bwd_pair)(const kiln__attention_args *a, int64_t b, int64_t i, int64_t h, int64_t j, REAL *dq, REAL *dk,
                          REAL *dv) {
  const ELEMENT *q = ROW(a->q, b, i, h), *d_o = ROW(a->d_o, b, i, h), *o = ROW(a->o, b, i, h);
  const ELEMENT *k = ROW(a->k, b, j, h / a->group), *v = ROW(a->v, b, j, h / a->group);
  REAL p = (REAL)exp((REAL)a->scale * REF(dot)(q, k, a->d) - *LSE(a, b, i, h));
  REAL ds = p * (REF(dot)(d_o, v, a->d) - REF(dot)(d_o, o, a->d)) * (REAL)a->scale;
  REF(axpy)(dv, p, d_o, a->d);
  REF(axpy)(dk, ds, q, a->d);
  REF(axpy)(dq, ds, k, a->d);
}

static void REF(bwd_key)(const kiln__attention_args *a, int64_t b, int64_t hkv, int64_t j, REAL *sums, REAL *dk) {
  REAL *dv = dk + a->d;
  REF(zero)(dk, 2 * a->d);
  for (int64_t g = 0; g < a->group; g++) {
    for (int64_t i = 0; i < a->tq; i++) {
      kiln__span keys = kiln__visible(a, b, i);
      if (j < keys.begin || j >= keys.end) continue;
      REF(bwd_pair)(a, b, i, hkv * a->group + g, j, sums + (g * a->tq + i) * a->d, dk, dv);
    }
  }
  REF(put)(ROW(a->dk, b, j, hkv), dk, a->d);
  REF(put)(ROW(a->dv, b, j, hkv), dv, a->d);
}

static void REF(bwd)(const kiln__attention_args *a, int64_t b, int64_t hkv, int64_t first, int64_t step, void *sums,
                     void *scratch) {
  REF(zero)(sums, a->group * a->tq * a->d);
  for (int64_t block = first; block * REF(BLOCK) < a->tk; block += step) {
    int64_t end = kiln__min((block + 1) * REF(BLOCK), a->tk);
    for (int64_t j = block * REF(BLOCK); j < end; j++) REF(bwd_key)(a, b, hkv, j, sums, scratch);
  }
}

static void REF(dq)(const kiln__attention_args *a, int64_t b, int64_t h, kiln__span queries, const void *sums,
                    int64_t parts, int64_t stride) {
  for (int64_t i = queries.begin; i < queries.end; i++) {
    for (int64_t c = 0; c < a->d; c++) {
      REAL total = 0;
      for (int64_t part = 0; part < parts; part++) {
        const REAL *sum = (const void *)((const char *)sums + part * stride);
        total += sum[(h % a->group * a->tq + i) * a->d + c];
      }
      ROW(a->dq, b, i, h)[c] = PUT(total);
    }
  }
}

static bool REF(few)(const kiln__attention_args *a) {
  (void)a;
  return false;
}

const kiln__attention_kernels REF(kiln__attention_ref) = {
    .query_block = REF(BLOCK), .key_block = REF(BLOCK), .scratch = REF(scratch), .sums = REF(sums), .fwd = REF(fwd),
    .bwd = REF(bwd), .dq = REF(dq), .few = REF(few)};
#undef ROW
#undef LSE
#endif
