// A small vector vocabulary: KILN_VL lanes of fp32 in a `vf`, and as many int32 in a `vi`. Kernels speak it and nothing
// else; at KILN_VL 1 the same code is scalar. Included once per instruction set, inside its pushed target.
//
// A `vw` is four of them, for streams: each operation becomes four independent ones, which hide each other's latency
// where a chain of operations (an exponential, a sum) is longer than the CPU looks ahead. simd/lanes.h has the
// vocabulary for both: functions of a vector are called vf_...; what only gives one, vf_... and vw_... .
#ifndef KILN_VL
#error "set KILN_VL and KILN_FMA before including simd/vec.h"
#endif
#include "simd/half.h"

// Multiply-adds are written out as `vf_fma`; the compiler makes none of its own, so that a body means the same
// arithmetic wherever it is included.
#pragma clang fp contract(off)

// All is inlined, so it does not matter how wide vectors would be passed.
#pragma clang diagnostic ignored "-Wpsabi"

#define VEC static inline __attribute__((always_inline))
// For what exists for fp32, bf16 and f16 in memory, or for both widths: the arguments' types pick the body.
#define VEC_OF VEC __attribute__((overloadable))

// One element.
VEC_OF float get(const float *p) { return *p; }
VEC_OF float get(const kiln__bf16 *p) { return kiln__get_bf16(*p); }
VEC_OF float get(const int8_t *p) { return *p; }
VEC_OF float get(const kiln__e4m3 *p) { return kiln__get_e4m3(*p); }
VEC_OF float get(const kiln__e5m2 *p) { return kiln__get_e5m2(*p); }
VEC_OF void put(float *p, float x) { *p = x; }
VEC_OF void put(kiln__bf16 *p, float x) { *p = kiln__put_bf16(x); }
#if KILN_VL > 1  // each instruction set with vectors has an instruction that converts f16
VEC_OF float get(const kiln__f16 *p) { _Float16 x; memcpy(&x, p, sizeof x); return (float)x; }
VEC_OF void put(kiln__f16 *p, float x) { _Float16 y = (_Float16)x; memcpy(p, &y, sizeof y); }
#else
VEC_OF float get(const kiln__f16 *p) { return kiln__get_f16(*p); }
VEC_OF void put(kiln__f16 *p, float x) { *p = kiln__put_f16(x); }
#endif

// Added to a number, it rounds to an integer n and leaves n + 127 in the low bits.
#define VF_SHIFTER 12583039.0f  // 1.5 * 2^23 + 127

typedef float vf __attribute__((ext_vector_type(KILN_VL)));
typedef int32_t vi __attribute__((ext_vector_type(KILN_VL)));
typedef uint32_t vu __attribute__((ext_vector_type(KILN_VL)));
typedef uint16_t vh __attribute__((ext_vector_type(KILN_VL)));

// bf16 in memory, any alignment. Reading is exact; writing rounds to the nearest, ties to even.
VEC_OF vf vf_load(const kiln__bf16 *p) {
  vh bits;
  memcpy(&bits, p, sizeof bits);
#if KILN_VL == 8  // with AVX2 one shuffle of bytes, which costs half of widening and shifting
  typedef uint16_t vh2 __attribute__((ext_vector_type(16)));
  vh2 twice = __builtin_shufflevector(bits, bits, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7), zero = 0;
  return (vf)__builtin_shufflevector(twice, zero, 16, 0, 16, 1, 16, 2, 16, 3, 16, 12, 16, 13, 16, 14, 16, 15);
#else
  return (vf)(__builtin_convertvector(bits, vu) << 16);
#endif
}
VEC_OF void vf_store(kiln__bf16 *p, vf v) {
  vu u = (vu)v, even_tie = (vu)((u & 0x1ffff) == 0x8000);  // all ones, so -1: such a tie is rounded down
  vu rounded = v == v ? u + 0x8000 + even_tie : u | 0x400000;
  vh bits = __builtin_convertvector(rounded >> 16, vh);
  memcpy(p, &bits, sizeof bits);
}

// f16 in memory, in the same way.
#if KILN_VL > 1
typedef _Float16 vf16 __attribute__((ext_vector_type(KILN_VL)));
VEC_OF vf vf_load(const kiln__f16 *p) { vf16 h; memcpy(&h, p, sizeof h); return __builtin_convertvector(h, vf); }
VEC_OF void vf_store(kiln__f16 *p, vf v) { vf16 h = __builtin_convertvector(v, vf16); memcpy(p, &h, sizeof h); }
#else
VEC_OF vf vf_load(const kiln__f16 *p) { return (vf)get(p); }
VEC_OF void vf_store(kiln__f16 *p, vf v) { put(p, v[0]); }
#endif

#define LANES KILN_VL
#define VF vf
#define VI vi
#define GIVES(name) vf_##name
#include "simd/lanes.h"

#define KILN_WL (4 * KILN_VL)
typedef float vw __attribute__((ext_vector_type(KILN_WL)));
typedef int32_t vwi __attribute__((ext_vector_type(KILN_WL)));

// Vector by vector: a conversion of all four at once would be put together from shuffles across registers.
#define PARTS(TYPE)                                                   \
  VEC_OF vw vw_load(const TYPE *p) {                                  \
    vf part[4];                                                       \
    for (int i = 0; i < 4; i++) part[i] = vf_load(p + i * KILN_VL);   \
    vw v;                                                             \
    memcpy(&v, part, sizeof v);                                       \
    return v;                                                         \
  }                                                                   \
  VEC_OF void vf_store(TYPE *p, vw v) {                               \
    vf part[4];                                                       \
    memcpy(part, &v, sizeof v);                                       \
    for (int i = 0; i < 4; i++) vf_store(p + i * KILN_VL, part[i]);   \
  }
PARTS(kiln__bf16)
PARTS(kiln__f16)
#undef PARTS

#define LANES KILN_WL
#define VF vw
#define VI vwi
#define GIVES(name) vw_##name
#include "simd/lanes.h"

// Asks for the lines of a `vw` at p; into the second cache, as the first may be full of what is in use.
#define vw_prefetch(p) vw_prefetch_bytes(p, KILN_WL * (int64_t)sizeof *(p))
VEC void vw_prefetch_bytes(const void *p, int64_t bytes) {
  for (int64_t line = 0; line < bytes; line += 64) __builtin_prefetch((const char *)p + line, 0, 2);
}

// Lanes as pairs of int16: the sum of the pair's two products, in int32.
VEC vi vi_multiply_pairs(vi a, vi b) {
#if defined(__x86_64__) && KILN_VL == 8
  typedef int16_t pairs __attribute__((vector_size(32)));
  return (vi)__builtin_ia32_pmaddwd256((pairs)a, (pairs)b);
#elif defined(__x86_64__) && KILN_VL == 16
  typedef int16_t pairs __attribute__((vector_size(64)));
  return (vi)__builtin_ia32_pmaddwd512((pairs)a, (pairs)b);
#else
  return (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
#endif
}

// Reductions over the lanes, by halving: the order is fixed.
VEC_OF float vf_sum(vf x) {
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

// The sum of the four vectors, and of all lanes.
VEC vf vw_fold(vw x) {
  vf part[4];
  memcpy(part, &x, sizeof x);
  return (part[0] + part[1]) + (part[2] + part[3]);
}
VEC_OF float vf_sum(vw x) { return vf_sum(vw_fold(x)); }

// Four lanes, whatever KILN_VL is: for transposing.
typedef float v4 __attribute__((ext_vector_type(4)));

VEC_OF v4 v4_load(const float *p) { v4 v; memcpy(&v, p, sizeof v); return v; }
VEC_OF v4 v4_load(const kiln__bf16 *p) {
  uint16_t __attribute__((ext_vector_type(4))) bits;
  memcpy(&bits, p, sizeof bits);
  return (v4)(__builtin_convertvector(bits, uint32_t __attribute__((ext_vector_type(4)))) << 16);
}
VEC_OF v4 v4_load(const kiln__f16 *p) {
#if KILN_VL > 1
  _Float16 __attribute__((ext_vector_type(4))) h;
  memcpy(&h, p, sizeof h);
  return __builtin_convertvector(h, v4);
#else
  return (v4){get(p), get(p + 1), get(p + 2), get(p + 3)};
#endif
}
VEC_OF v4 v4_load(const int8_t *p) {
  int8_t __attribute__((ext_vector_type(4))) bytes;
  memcpy(&bytes, p, sizeof bytes);
  return __builtin_convertvector(bytes, v4);
}
VEC_OF v4 v4_load(const kiln__e4m3 *p) { return (v4){get(p), get(p + 1), get(p + 2), get(p + 3)}; }
VEC_OF v4 v4_load(const kiln__e5m2 *p) { return (v4){get(p), get(p + 1), get(p + 2), get(p + 3)}; }
VEC void v4_store(float *p, v4 v) { memcpy(p, &v, sizeof v); }

// Element i of row j goes to p[i * stride + j].
VEC void v4_store_transposed(float *p, int64_t stride, v4 r0, v4 r1, v4 r2, v4 r3) {
  v4 low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
  v4 low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5), high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  v4_store(p, __builtin_shufflevector(low01, low23, 0, 1, 4, 5));
  v4_store(p + stride, __builtin_shufflevector(low01, low23, 2, 3, 6, 7));
  v4_store(p + 2 * stride, __builtin_shufflevector(high01, high23, 0, 1, 4, 5));
  v4_store(p + 3 * stride, __builtin_shufflevector(high01, high23, 2, 3, 6, 7));
}

// Of four numbers one for each lane, by the bytes of its place among them: 0x03020100 for the first, and so on. A shuffle
// of bytes, of which a CPU does two at once where it does one of floats.
#if defined(__x86_64__) && KILN_VL == 8
#define VF_PICKS 1
VEC vf vf_pick(const float *four, vi places) {
  typedef char bytes __attribute__((vector_size(32)));
  v4 x = v4_load(four);
  return (vf)__builtin_ia32_pshufb256((bytes)__builtin_shufflevector(x, x, 0, 1, 2, 3, 0, 1, 2, 3), (bytes)places);
}
#elif defined(__x86_64__) && KILN_VL == 16
#define VF_PICKS 1
VEC vf vf_pick(const float *four, vi places) {
  typedef char bytes __attribute__((vector_size(64)));
  v4 x = v4_load(four);
  vf all = __builtin_shufflevector(x, x, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3);
  return (vf)__builtin_ia32_pshufb512((bytes)all, (bytes)places);
}
#else
#define VF_PICKS 0
#endif
