// A small vector vocabulary: KILN_VL lanes of fp32 in a `vf`, and as many int32 in a `vi`. Kernels speak it and nothing
// else; at KILN_VL 1 the same code is scalar. Included once per instruction set, inside its pushed target.
#ifndef KILN_VL
#error "set KILN_VL and KILN_FMA before including simd/vec.h"
#endif
#include "simd/half.h"

// Multiply-adds are written out as `vf_fma`; the compiler makes none of its own, so that a body means the same
// arithmetic wherever it is included.
#pragma clang fp contract(off)

#define VEC static inline __attribute__((always_inline))
// For what exists for fp32 and for bf16 in memory: the pointer's type picks the body.
#define VEC_OF VEC __attribute__((overloadable))

typedef float vf __attribute__((ext_vector_type(KILN_VL)));
typedef int32_t vi __attribute__((ext_vector_type(KILN_VL)));
typedef uint32_t vu __attribute__((ext_vector_type(KILN_VL)));
typedef uint16_t vh __attribute__((ext_vector_type(KILN_VL)));

VEC vf vf_set(float x) { return (vf)(x); }

// One element.
VEC_OF float get(const float *p) { return *p; }
VEC_OF float get(const kiln__bf16 *p) { return kiln__get_bf16(*p); }
VEC_OF void put(float *p, float x) { *p = x; }
VEC_OF void put(kiln__bf16 *p, float x) { *p = kiln__put_bf16(x); }

// Memory. Any alignment. Reading bf16 is exact; writing it rounds to the nearest, ties to even.
VEC_OF vf vf_load(const float *p) { vf v; memcpy(&v, p, sizeof v); return v; }
VEC_OF vf vf_load(const kiln__bf16 *p) {
  vh bits;
  memcpy(&bits, p, sizeof bits);
  return (vf)(__builtin_convertvector(bits, vu) << 16);
}
VEC_OF void vf_store(float *p, vf v) { memcpy(p, &v, sizeof v); }
VEC_OF void vf_store(kiln__bf16 *p, vf v) {
  vu u = (vu)v, nearest = u + 0x7fff + (u >> 16 & 1);
  vu rounded = (vu)(((v == v) & (vi)nearest) | ((v != v) & (vi)(u | 0x400000)));
  vh bits = __builtin_convertvector(rounded >> 16, vh);
  memcpy(p, &bits, sizeof bits);
}

// The first n lanes, 0 < n < KILN_VL; the others read as `fill` and are not written.
//
// A whole vector, or what is left of one: n >= 1 elements remain at p. Missing lanes read as 0.
#define VF_PARTS(TYPE)                                                                                             \
  VEC_OF vf vf_load_part(const TYPE *p, int64_t n, float fill) {                                                   \
    vf v = vf_set(fill);                                                                                           \
    for (int i = 0; i < KILN_VL; i++) if (i < n) v[i] = get(p + i);                                                \
    return v;                                                                                                      \
  }                                                                                                                \
  VEC_OF void vf_store_part(TYPE *p, vf v, int64_t n) {                                                            \
    for (int i = 0; i < KILN_VL; i++) if (i < n) put(p + i, v[i]);                                                 \
  }                                                                                                                \
  VEC_OF vf vf_read(const TYPE *p, int64_t n) { return n >= KILN_VL ? vf_load(p) : vf_load_part(p, n, 0); }        \
  VEC_OF void vf_write(TYPE *p, vf v, int64_t n) {                                                                 \
    if (n >= KILN_VL) vf_store(p, v);                                                                              \
    else vf_store_part(p, v, n);                                                                                   \
  }
VF_PARTS(float)
VF_PARTS(kiln__bf16)

// Arithmetic; + - * / and comparisons are the operators. A comparison gives a `vi` of 0 and -1.
VEC vf vf_fma(vf a, vf b, vf c) {
#if KILN_FMA
  return __builtin_elementwise_fma(a, b, c);
#else
  return a * b + c;
#endif
}
VEC vf vf_select(vi mask, vf yes, vf no) { return (vf)((mask & (vi)yes) | (~mask & (vi)no)); }
VEC vf vf_abs(vf x) { return __builtin_elementwise_abs(x); }
VEC vf vf_sqrt(vf x) { return __builtin_elementwise_sqrt(x); }

// Larger and smaller of two; if b is NaN the result is NaN, if only a is, it is b.
VEC vf vf_max(vf a, vf b) { return vf_select(a > b, a, b); }
VEC vf vf_min(vf a, vf b) { return vf_select(a < b, a, b); }

// Reductions over the lanes, by halving: the order is fixed.
VEC float vf_sum(vf x) {
  float lane[KILN_VL];
  memcpy(lane, &x, sizeof x);
  for (int step = KILN_VL / 2; step > 0; step /= 2) {
    for (int i = 0; i < step; i++) lane[i] += lane[i + step];
  }
  return lane[0];
}
VEC float vf_max_lane(vf x) {
  float m = x[0];
  for (int i = 1; i < KILN_VL; i++) m = x[i] > m || x[i] != x[i] ? x[i] : m;
  return m;
}

// e^x within 2 ulp; 0 below -103.97, infinity above 88.73, NaN for NaN.
// x = n ln2 + r with |r| <= ln2/2 (Cody and Waite), e^r by a polynomial, times 2^n in two steps so that results
// below the smallest normal number come out right.
VEC vf vf_exp(vf x) {
  vf clamped = vf_max(vf_set(-104.0f), vf_min(vf_set(89.0f), x));
  vf shifter = vf_set(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer
  vf n = vf_fma(clamped, vf_set(1.44269504f), shifter) - shifter;
  vf r = vf_fma(n, vf_set(-0.693359375f), clamped);
  r = vf_fma(n, vf_set(2.12194440e-4f), r);
  vf p = vf_set(1.9875691500e-4f);
  p = vf_fma(p, r, vf_set(1.3981999507e-3f));
  p = vf_fma(p, r, vf_set(8.3334519073e-3f));
  p = vf_fma(p, r, vf_set(4.1665795894e-2f));
  p = vf_fma(p, r, vf_set(1.6666665459e-1f));
  p = vf_fma(p, r, vf_set(5.0000001201e-1f));
  p = vf_fma(p * r, r, r) + 1.0f;
  vi exponent = __builtin_convertvector(n, vi);
  vi half = exponent >> 1;
  vf scaled = p * (vf)((half + 127) << 23) * (vf)((exponent - half + 127) << 23);
  return vf_select(x == x, scaled, x);
}

// 1 / (1 + e^-x)
VEC vf vf_sigmoid(vf x) { return 1.0f / (1.0f + vf_exp(-x)); }

// The error function within 3 ulp: an odd polynomial below 0.95, above it 1 - e^q(|x|), q fitted to the logarithm of
// erfc up to 4, where the result is 1. Both fits are minimax, to 0.03 ulp of the result.
VEC vf vf_erf(vf x) {
  vf s = x * x;
  vf near = vf_set(8.215424e-05f);
  near = vf_fma(near, s, vf_set(-8.1059657e-04f));
  near = vf_fma(near, s, vf_set(5.1977974e-03f));
  near = vf_fma(near, s, vf_set(-2.6858104e-02f));
  near = vf_fma(near, s, vf_set(1.12836726e-01f));
  near = vf_fma(near, s, vf_set(-3.7612632e-01f));
  near = vf_fma(near, s, vf_set(1.1283792f)) * x;
  vf t = vf_min(vf_set(4.0f), vf_abs(x));
  vf q = vf_set(1.9150556e-04f);
  q = vf_fma(q, t, vf_set(-2.9995544e-03f));
  q = vf_fma(q, t, vf_set(2.2052051e-02f));
  q = vf_fma(q, t, vf_set(-1.03567004e-01f));
  q = vf_fma(q, t, vf_set(-6.3759995e-01f));
  q = vf_fma(q, t, vf_set(-1.1274261f));
  q = vf_fma(q, t, vf_set(-2.564286e-04f));
  vf far = 1.0f - vf_exp(q);
  return vf_select(t < 0.95f, near, vf_select(x < 0.0f, -far, far));
}

// Four lanes, whatever KILN_VL is: for transposing.
typedef float v4 __attribute__((ext_vector_type(4)));

VEC_OF v4 v4_load(const float *p) { v4 v; memcpy(&v, p, sizeof v); return v; }
VEC_OF v4 v4_load(const kiln__bf16 *p) {
  uint16_t __attribute__((ext_vector_type(4))) bits;
  memcpy(&bits, p, sizeof bits);
  return (v4)(__builtin_convertvector(bits, uint32_t __attribute__((ext_vector_type(4)))) << 16);
}
VEC void v4_store(float *p, v4 v) { memcpy(p, &v, sizeof v); }
