// Activations for one width of vectors, included by simd/act.h: a value, and its slope for the backward.

VEC_OF VF act_above(VF x) { return vf_max(GIVES(set)(-ACT_FAR), x); }

// (0 - x where -x would do: the compiler moves a minus sign through a clamp, and the clamp gets dearer.)
VEC_OF VF act_value(kiln_activation kind, VF x) {
  switch (kind) {
    case KILN_ACT_NONE: return x;
    case KILN_ACT_RELU: return vf_max(GIVES(set)(0), x);
    case KILN_ACT_GELU_TANH: {
      VF z = x * vf_fma(x * x, GIVES(set)(ACT_GELU_B), GIVES(set)(ACT_GELU_A));
      return act_above(x) / (1.0f + vf_exp2_near(vf_clamp(z, -127, 128)));
    }
    case KILN_ACT_GELU_ERF: x = act_above(x); return 0.5f * x * (1.0f + vf_erf(x * ACT_SQRT_HALF));
    case KILN_ACT_SILU: return act_above(x) / (1.0f + vf_exp_near(0.0f - vf_clamp(x, -89, 88)));
  }
  return x;
}

// For s = 1 / (1 + e), e = e^-w: s + x w' s (1 - s), where 1 - s = e s cancels nothing. xw: x w'.
VEC_OF VF act_sigmoid_slope(VF e, VF xw) {
  VF s = 1.0f / (1.0f + e);
  return vf_fma(xw * s, e * s, s);
}

VEC_OF VF act_slope(kiln_activation kind, VF x) {
  switch (kind) {
    case KILN_ACT_NONE: return GIVES(set)(1);
    case KILN_ACT_RELU: return vf_select(x == x, vf_select(x > 0.0f, GIVES(set)(1), GIVES(set)(0)), x);
    case KILN_ACT_GELU_TANH: {
      VF near = vf_clamp(x, -ACT_FAR_GELU_TANH, ACT_FAR_GELU_TANH), square = near * near;
      VF z = near * vf_fma(square, GIVES(set)(ACT_GELU_B), GIVES(set)(ACT_GELU_A));
      VF xw = near * vf_fma(square, GIVES(set)(-3 * ACT_LN_2 * ACT_GELU_B), GIVES(set)(-ACT_LN_2 * ACT_GELU_A));
      return act_sigmoid_slope(vf_exp2_near(z), xw);
    }
    case KILN_ACT_GELU_ERF: {
      VF near = vf_clamp(x, -ACT_FAR_GELU_ERF, ACT_FAR_GELU_ERF);
      return vf_fma(near * ACT_1_OVER_SQRT_2PI, vf_exp_near(-0.5f * near * near),
                    vf_fma(GIVES(set)(0.5f), vf_erf(near * ACT_SQRT_HALF), GIVES(set)(0.5f)));
    }
    case KILN_ACT_SILU: {
      VF near = vf_clamp(x, -ACT_FAR_SILU, ACT_FAR_SILU);
      return act_sigmoid_slope(vf_exp_near(-near), near);
    }
  }
  return GIVES(set)(1);
}

#undef VF
#undef GIVES
