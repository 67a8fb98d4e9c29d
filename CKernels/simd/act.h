// Activations in vectors: a value, and its slope for the backward. `kind` is the same for a whole call: have the switch
// outside of loops. NaN gives NaN; far from 0 the limits are exact.
#ifndef KILN_VL
#error "include simd/vec.h first"
#endif

// From here on every activation but ReLU equals its limit, and no term of a slope overflows.
#define ACT_FAR 1e4f
#define ACT_SQRT_2_OVER_PI 0.79788456f
#define ACT_CUBIC 0.044715f
#define ACT_SQRT_HALF 0.70710678f
#define ACT_1_OVER_SQRT_2PI 0.39894228f

VEC vf act_above(vf x) { return vf_max(vf_set(-ACT_FAR), x); }

// 2 sqrt(2/pi) (x + 0.044715 x^3): GELU's x/2 (1 + tanh(u)) is x sigmoid(2u).
VEC vf act_gelu_argument(vf x) {
  return 2 * ACT_SQRT_2_OVER_PI * x * vf_fma(vf_set(ACT_CUBIC), x * x, vf_set(1));
}

// sigmoid(z) and its slope, both without cancellation
VEC void act_sigmoid(vf z, vf *value, vf *slope) {
  vf e = vf_exp(-vf_abs(z)), r = 1.0f / (1.0f + e);
  *value = vf_select(z < 0.0f, e * r, r);
  *slope = e * r * r;
}

VEC vf act_value(kiln_activation kind, vf x) {
  switch (kind) {
    case KILN_ACT_NONE: return x;
    case KILN_ACT_RELU: return vf_max(vf_set(0), x);
    case KILN_ACT_GELU_TANH: x = act_above(x); return x * vf_sigmoid(act_gelu_argument(x));
    case KILN_ACT_GELU_ERF: x = act_above(x); return 0.5f * x * (1.0f + vf_erf(x * ACT_SQRT_HALF));
    case KILN_ACT_SILU: x = act_above(x); return x * vf_sigmoid(x);
  }
  return x;
}

VEC vf act_slope(kiln_activation kind, vf x) {
  vf value, slope;
  vf near = vf_min(vf_set(ACT_FAR), act_above(x));
  switch (kind) {
    case KILN_ACT_NONE: return vf_set(1);
    case KILN_ACT_RELU: return vf_select(x == x, vf_select(x > 0.0f, vf_set(1), vf_set(0)), x);
    case KILN_ACT_GELU_TANH:
      act_sigmoid(act_gelu_argument(near), &value, &slope);
      return vf_fma(slope, act_gelu_argument(near) + 4 * ACT_SQRT_2_OVER_PI * ACT_CUBIC * near * near * near, value);
    case KILN_ACT_GELU_ERF:
      return vf_fma(near * ACT_1_OVER_SQRT_2PI, vf_exp(-0.5f * near * near),
                    vf_fma(vf_set(0.5f), vf_erf(near * ACT_SQRT_HALF), vf_set(0.5f)));
    case KILN_ACT_SILU:
      act_sigmoid(near, &value, &slope);
      return vf_fma(slope, near, value);
  }
  return vf_set(1);
}
