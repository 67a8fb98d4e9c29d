// The plain loops, for fp32, fp64, bf16 and f16.
#ifndef REAL
#define KILN_REFERENCE "rope/ref.c"
#include "core/reference.h"
#else

static void REF(rotate)(const kiln__rope_args *a, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    int64_t b = row / a->t, t = row % a->t;
    const REAL *cos = (const REAL *)a->cos + t * a->half, *sin = (const REAL *)a->sin + t * a->half;
    for (int64_t h = 0; h < a->h; h++) {
      const ELEMENT *x = (const ELEMENT *)a->x + b * a->x_b + t * a->x_t + h * a->x_h;
      ELEMENT *y = (ELEMENT *)a->y + b * a->y_b + t * a->y_t + h * a->y_h;
      for (int64_t i = 0; i < a->half; i++) {
        REAL lower = GET(x[i]), upper = GET(x[i + a->half]);
        y[i] = PUT(lower * cos[i] - upper * sin[i]);
        y[i + a->half] = PUT(upper * cos[i] + lower * sin[i]);
      }
    }
  }
}

const kiln__rope_kernels REF(kiln__rope_ref) = {REF(rotate)};
#endif
