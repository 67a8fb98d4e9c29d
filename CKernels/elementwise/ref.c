// The plain loops, for fp32, fp64, bf16 and f16.
#ifndef REAL
#define KILN_REFERENCE "elementwise/ref.c"
#include "core/reference.h"
#else

static void REF(add)(void *y_, const void *a_, const void *b_, int64_t n) {
  ELEMENT *y = y_;
  const ELEMENT *a = a_, *b = b_;
  for (int64_t i = 0; i < n; i++) y[i] = PUT(GET(a[i]) + GET(b[i]));
}

static void REF(sum_rows)(void *out_, const void *x_, int64_t rows, int64_t cols, int64_t ldx, bool accumulate) {
  REAL *out = out_;
  const ELEMENT *x = x_;
  for (int64_t c = 0; c < cols; c++) {
    REAL sum = accumulate ? out[c] : 0;
    for (int64_t row = 0; row < rows; row++) sum += GET(x[row * ldx + c]);
    out[c] = sum;
  }
}

static double REF(sum_squares)(const void *x_, int64_t n) {
  const ELEMENT *x = x_;
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += (double)GET(x[i]) * (double)GET(x[i]);
  return sum;
}

static void REF(stream)(void *y, const void *x, int64_t bytes) { memcpy(y, x, (size_t)bytes); }

const kiln__elementwise_kernels REF(kiln__elementwise_ref) = {REF(add), REF(sum_rows), REF(sum_squares), REF(stream)};
#endif
