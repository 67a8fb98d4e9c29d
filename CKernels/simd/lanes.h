// The vocabulary for one width, included by simd/vec.h: LANES lanes in a VF, VI.

VEC VF GIVES(set)(float x) { return (VF)(x); }

// Memory. Any alignment; of bf16 and f16 in simd/vec.h.
VEC_OF VF GIVES(load)(const float *p) { VF v; memcpy(&v, p, sizeof v); return v; }
VEC_OF void vf_store(float *p, VF v) { memcpy(p, &v, sizeof v); }

// _part: the first n lanes, 0 < n < LANES; the others read as `fill` and are not written. They pass through a buffer:
// slow, but the code is small, and there is one of them to a row. The empty assembly keeps the loops from becoming
// calls of memcpy, around which no vector stays in a register.
// read, write: a whole vector, or what is left of one: n >= 1 elements remain at p. Missing lanes read as 0.
#define PARTS(TYPE)                                                                                         \
  VEC_OF VF GIVES(load_part)(const TYPE *p, int64_t n, float fill) {                                        \
    float lane[LANES];                                                                                      \
    vf_store(lane, GIVES(set)(fill));                                                                       \
    EACH_LANE(i, n) { lane[i] = get(p + i); __asm__ volatile("" ::: "memory"); }                            \
    return GIVES(load)(lane);                                                                               \
  }                                                                                                         \
  VEC_OF void vf_store_part(TYPE *p, VF v, int64_t n) {                                                     \
    float lane[LANES];                                                                                      \
    vf_store(lane, v);                                                                                      \
    EACH_LANE(i, n) { put(p + i, lane[i]); __asm__ volatile("" ::: "memory"); }                             \
  }                                                                                                         \
  VEC_OF VF GIVES(read)(const TYPE *p, int64_t n) {                                                         \
    return n >= LANES ? GIVES(load)(p) : GIVES(load_part)(p, n, 0);                                         \
  }                                                                                                         \
  VEC_OF void vf_write(TYPE *p, VF v, int64_t n) {                                                          \
    if (n >= LANES) vf_store(p, v);                                                                         \
    else vf_store_part(p, v, n);                                                                            \
  }
#define EACH_LANE(i, n) _Pragma("clang loop unroll(disable)") for (int64_t i = 0; i < n; i++)
PARTS(float)
PARTS(kiln__bf16)
PARTS(kiln__f16)
#undef PARTS
#undef EACH_LANE

// Arithmetic; + - * / and comparisons are the operators. A comparison gives a `VI` of 0 and -1.
VEC_OF VF vf_fma(VF a, VF b, VF c) {
#if KILN_FMA
  return __builtin_elementwise_fma(a, b, c);
#else
  return a * b + c;
#endif
}
VEC_OF VF vf_select(VI mask, VF yes, VF no) { return mask ? yes : no; }
VEC_OF VF vf_abs(VF x) { return __builtin_elementwise_abs(x); }
VEC_OF VF vf_sqrt(VF x) { return __builtin_elementwise_sqrt(x); }

// Larger and smaller of two; if b is NaN the result is NaN, if only a is, it is b.
VEC_OF VF vf_max(VF a, VF b) { return vf_select(a > b, a, b); }
VEC_OF VF vf_min(VF a, VF b) { return vf_select(a < b, a, b); }
// NaN for NaN.
VEC_OF VF vf_clamp(VF x, float low, float high) { return vf_min(GIVES(set)(high), vf_max(GIVES(set)(low), x)); }

// 2^n as a factor, for the integer n that a sum with VF_SHIFTER holds: 0 for n = -127, infinity for 128, none beyond.
VEC_OF VF vf_power(VF shifted) { return (VF)((VI)shifted << 23); }

// For x = n ln2 + r with |r| <= ln2/2 (Cody and Waite): e^r by a polynomial, and n + VF_SHIFTER.
VEC_OF VF vf_exp_reduced(VF x, VF *shifted) {
  *shifted = vf_fma(x, GIVES(set)(1.44269504f), GIVES(set)(VF_SHIFTER));
  VF n = *shifted - VF_SHIFTER;
  VF r = vf_fma(n, GIVES(set)(-0.693359375f), x);
  r = vf_fma(n, GIVES(set)(2.12194440e-4f), r);
  VF p = GIVES(set)(1.9875691500e-4f);
  p = vf_fma(p, r, GIVES(set)(1.3981999507e-3f));
  p = vf_fma(p, r, GIVES(set)(8.3334519073e-3f));
  p = vf_fma(p, r, GIVES(set)(4.1665795894e-2f));
  p = vf_fma(p, r, GIVES(set)(1.6666665459e-1f));
  p = vf_fma(p, r, GIVES(set)(5.0000001201e-1f));
  return vf_fma(vf_fma(p, r, GIVES(set)(1)), r, GIVES(set)(1));
}

// e^x within 2 ulp; 0 below -103.97, infinity above 88.73, NaN for NaN. The power of 2 in two steps, so that results
// below the smallest normal number come out right.
VEC_OF VF vf_exp(VF x) {
  VF shifted, p = vf_exp_reduced(vf_clamp(x, -104, 89), &shifted);
  VI n = (VI)shifted - (VI)GIVES(set)(VF_SHIFTER), half = n >> 1;
  return p * (VF)((half + 127) << 23) * (VF)((n - half + 127) << 23);
}

// The same for -88 <= x <= 89 alone, or NaN: already 0 below -87.7, and infinity from 88.4 on.
VEC_OF VF vf_exp_near(VF x) {
  VF shifted, p = vf_exp_reduced(x, &shifted);
  return p * vf_power(shifted);
}

// 2^x for -127 <= x <= 128, or NaN, within 3 ulp; 0 below -126.5, and infinity from 127.5 on.
VEC_OF VF vf_exp2_near(VF x) {
  VF shifted = x + VF_SHIFTER, r = x - (shifted - VF_SHIFTER);
  VF p = vf_fma(GIVES(set)(1.32646586e-3f), r, GIVES(set)(9.67156608e-3f));
  p = vf_fma(p, r, GIVES(set)(5.55073433e-2f));
  p = vf_fma(p, r, GIVES(set)(2.40222409e-1f));
  p = vf_fma(p, r, GIVES(set)(6.93147004e-1f));
  return vf_fma(p, r, GIVES(set)(1)) * vf_power(shifted);
}

// 1 / (1 + e^-x)
VEC_OF VF vf_sigmoid(VF x) { return 1.0f / (1.0f + vf_exp_near(0.0f - vf_clamp(x, -89, 88))); }

// The error function within 3 ulp: an odd polynomial below 0.95, above it 1 - e^q(|x|), q fitted to the logarithm of
// erfc up to 4, where the result is 1. Both fits are minimax, to 0.03 ulp of the result.
VEC_OF VF vf_erf(VF x) {
  VF s = x * x;
  VF near = GIVES(set)(8.215424e-05f);
  near = vf_fma(near, s, GIVES(set)(-8.1059657e-04f));
  near = vf_fma(near, s, GIVES(set)(5.1977974e-03f));
  near = vf_fma(near, s, GIVES(set)(-2.6858104e-02f));
  near = vf_fma(near, s, GIVES(set)(1.12836726e-01f));
  near = vf_fma(near, s, GIVES(set)(-3.7612632e-01f));
  near = vf_fma(near, s, GIVES(set)(1.1283792f)) * x;
  VF t = vf_min(GIVES(set)(4.0f), vf_abs(x));
  VF q = GIVES(set)(1.9150556e-04f);
  q = vf_fma(q, t, GIVES(set)(-2.9995544e-03f));
  q = vf_fma(q, t, GIVES(set)(2.2052051e-02f));
  q = vf_fma(q, t, GIVES(set)(-1.03567004e-01f));
  q = vf_fma(q, t, GIVES(set)(-6.3759995e-01f));
  q = vf_fma(q, t, GIVES(set)(-1.1274261f));
  q = vf_fma(q, t, GIVES(set)(-2.564286e-04f));
  VF far = 1.0f - vf_exp_near(q);
  return vf_select(t < 0.95f, near, vf_select(x < 0.0f, -far, far));
}

#undef LANES
#undef VF
#undef VI
#undef GIVES
