// The plain loops, for fp32, fp64, bf16 and f16.
#ifndef REAL
#define KILN_REFERENCE "activation/ref.c"
#include "core/reference.h"
#else

// Below it every activation is 0, where the formulas give -infinity * 0.
#define FAR_BELOW ((REAL)-1e4)

static REAL REF(sigmoid)(REAL x) { return 1 / (1 + (REAL)exp(-x)); }

// sqrt(2/pi) (x + 0.044715 x^3)
static REAL REF(gelu_argument)(REAL x) { return (REAL)(M_2_SQRTPI * M_SQRT1_2) * (x + (REAL)0.044715 * x * x * x); }

REAL REF(kiln__act_value)(kiln_activation kind, REAL x) {
  if (kind == KILN_ACT_NONE) return x;
  if (kind == KILN_ACT_RELU) return x < 0 ? 0 : x;
  if (x < FAR_BELOW) return 0;
  switch (kind) {
    case KILN_ACT_GELU_TANH: return x / 2 * (1 + (REAL)tanh(REF(gelu_argument)(x)));
    case KILN_ACT_GELU_ERF: return x / 2 * (1 + (REAL)erf(x * (REAL)M_SQRT1_2));
    default: return x * REF(sigmoid)(x);
  }
}

REAL REF(kiln__act_slope)(kiln_activation kind, REAL x) {
  if (kind == KILN_ACT_NONE) return 1;
  if (kind == KILN_ACT_RELU) return x > 0 ? 1 : x <= 0 ? 0 : x;
  if (x < FAR_BELOW) return 0;
  if (x > -FAR_BELOW) return 1;
  switch (kind) {
    case KILN_ACT_GELU_TANH: {
      REAL t = (REAL)tanh(REF(gelu_argument)(x));
      REAL du = (REAL)(M_2_SQRTPI * M_SQRT1_2) * (1 + 3 * (REAL)0.044715 * x * x);
      return (1 + t) / 2 + x / 2 * (1 - t * t) * du;
    }
    case KILN_ACT_GELU_ERF: {
      REAL density = (REAL)(M_2_SQRTPI * M_SQRT1_2 / 2) * (REAL)exp(-x * x / 2);
      return (1 + (REAL)erf(x * (REAL)M_SQRT1_2)) / 2 + x * density;
    }
    default: {
      REAL s = REF(sigmoid)(x);
      return s + x * s * (1 - s);
    }
  }
}

static void REF(fwd)(kiln_activation kind, void *y_, const void *x_, int64_t n) {
  ELEMENT *y = y_;
  const ELEMENT *x = x_;
  for (int64_t i = 0; i < n; i++) y[i] = PUT(REF(kiln__act_value)(kind, GET(x[i])));
}

static void REF(bwd)(kiln_activation kind, void *dx_, const void *dy_, const void *x_, int64_t n) {
  ELEMENT *dx = dx_;
  const ELEMENT *dy = dy_, *x = x_;
  for (int64_t i = 0; i < n; i++) dx[i] = PUT(GET(dy[i]) * REF(kiln__act_slope)(kind, GET(x[i])));
}

static void REF(swiglu_fwd)(void *y_, const void *gate_, const void *up_, int64_t n) {
  ELEMENT *y = y_;
  const ELEMENT *gate = gate_, *up = up_;
  for (int64_t i = 0; i < n; i++) y[i] = PUT(REF(kiln__act_value)(KILN_ACT_SILU, GET(gate[i])) * GET(up[i]));
}

static void REF(swiglu_bwd)(void *dgate_, void *dup_, const void *dy_, const void *gate_, const void *up_, int64_t n) {
  ELEMENT *dgate = dgate_, *dup = dup_;
  const ELEMENT *dy = dy_, *gate = gate_, *up = up_;
  for (int64_t i = 0; i < n; i++) {
    REAL d = GET(dy[i]), g = GET(gate[i]), u = GET(up[i]);
    dgate[i] = PUT(d * u * REF(kiln__act_slope)(KILN_ACT_SILU, g));
    dup[i] = PUT(d * REF(kiln__act_value)(KILN_ACT_SILU, g));
  }
}

static void REF(dropout)(const kiln__dropout_args *a, void *y_, const void *x_, int64_t first, int64_t n) {
  ELEMENT *y = y_;
  const ELEMENT *x = x_;
  for (int64_t i = 0; i < n; i++) {
    uint32_t buffer[KILN_RANDOM_BUFFER(1)], word = *kiln__random_words(buffer, &a->random, first + i, 1);
    y[i] = PUT(GET(x[i]) * (word >= a->threshold ? (REAL)a->scale : 0));
  }
}

const kiln__activation_kernels REF(kiln__activation_ref) = {REF(fwd), REF(bwd), REF(swiglu_fwd), REF(swiglu_bwd),
                                                           REF(dropout)};
#undef FAR_BELOW
#endif
