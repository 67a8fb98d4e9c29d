// The plain loops, for fp32, fp64, bf16 and f16.
#ifndef REAL
#define KILN_REFERENCE "loss/ref.c"
#include "core/reference.h"
#else

static REAL REF(row)(const kiln__loss_args *a, ELEMENT *d, const ELEMENT *x, int32_t target) {
  REAL max = GET(x[0]), sum = 0, chosen = GET(x[target]);
  for (int64_t i = 1; i < a->v; i++) max = GET(x[i]) > max ? GET(x[i]) : max;
  for (int64_t i = 0; i < a->v; i++) sum += (REAL)exp(GET(x[i]) - max);
  for (int64_t i = 0; i < a->v && d; i++) {
    REAL p = (REAL)exp(GET(x[i]) - max) / sum;
    d[i] = PUT(a->scale * (i == target ? p - 1 : p));
  }
  return (REAL)log(sum) + (max - chosen);
}

static void REF(cross_entropy)(const kiln__loss_args *a, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const ELEMENT *x = (const ELEMENT *)a->logits + row * a->ldlogits;
    ELEMENT *d = a->dlogits ? (ELEMENT *)a->dlogits + row * a->lddlogits : NULL;
    bool ignored = a->targets[row] == a->ignore;
    REAL loss = ignored ? 0 : REF(row)(a, d, x, a->targets[row]);
    for (int64_t i = 0; i < a->v && d && ignored; i++) d[i] = PUT(0);
    if (a->losses) ((REAL *)a->losses)[row] = loss;
    a->terms[row] = loss;
  }
}

// Moves a row's shift up, with its first n exponentials.
static void REF(raise)(const kiln__loss_panel *p, int64_t row, ELEMENT *exps, int64_t n, REAL up) {
  REAL *shift = (REAL *)p->shift + row, factor = (REAL)exp(*shift - up);
  for (int64_t i = 0; i < n && exps; i++) exps[i] = PUT(GET(exps[i]) * factor);
  ((REAL *)p->sum)[row] *= factor;
  *shift = up;
}

static void REF(panel)(const kiln__loss_panel *p, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const REAL *x = (const REAL *)p->logits + row * p->ldlogits;
    ELEMENT *e = p->exps ? (ELEMENT *)p->exps + row * p->ldexps : NULL;
    REAL *shift = (REAL *)p->shift + row, *sum = (REAL *)p->sum + row, max = x[0];
    int64_t target = p->targets[row] - p->first;
    if (p->first == 0) *shift = -FLT_MAX, *sum = 0;
    if (target >= 0 && target < p->cols) ((REAL *)p->chosen)[row] = x[target];
    for (int64_t i = 1; i < p->cols; i++) max = x[i] > max ? x[i] : max;
    if (max > *shift + p->headroom) REF(raise)(p, row, e, p->first, max);
    for (int64_t i = 0; i < p->cols; i++) {
      REAL term = (REAL)exp(x[i] - *shift);
      *sum += term;
      if (e) e[p->first + i] = PUT(p->targets[row] == p->ignore ? 0 : term);
    }
  }
}

static void REF(finish)(const kiln__loss_panel *p, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    ELEMENT *e = p->exps ? (ELEMENT *)p->exps + row * p->ldexps : NULL;
    REAL *shift = (REAL *)p->shift + row, *sum = (REAL *)p->sum + row, chosen = ((REAL *)p->chosen)[row];
    int32_t target = p->targets[row];
    bool ignored = target == p->ignore;
    REAL over = (REAL)log(*sum) - p->headroom;
    if (e && !ignored && over > 0) REF(raise)(p, row, e, p->first + p->cols, *shift + over);
    REAL loss = ignored ? 0 : (REAL)log(*sum) + (*shift - chosen);
    if (e && !ignored) e[target] = PUT((REAL)exp(chosen - *shift) - *sum);
    ((REAL *)p->factor)[row] = ignored ? 0 : KILN_LOSS_FACTOR / *sum;
    if (p->losses) ((REAL *)p->losses)[row] = loss;
    p->terms[row] = loss;
  }
}

static void REF(scale)(const kiln__loss_scaling *s, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    REAL factor = ((const REAL *)s->factor)[row];
    for (int64_t i = 0; i < s->cols; i++) {
      int64_t at = row * s->ldx + i;
      REAL x = s->wide ? ((const REAL *)s->x)[at] : GET(((const ELEMENT *)s->x)[at]);
      ((ELEMENT *)s->y)[row * s->ldy + i] = PUT(factor * x);
    }
  }
}

const kiln__loss_kernels REF(kiln__loss_ref) = {REF(cross_entropy), REF(panel), REF(finish), REF(scale)};
#endif
