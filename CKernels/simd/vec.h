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
// For what exists for fp32 and bf16 in memory, or for both widths: the arguments' types pick the body.
#define VEC_OF VEC __attribute__((overloadable))

// One element.
VEC_OF float get(const float *p) { return *p; }
VEC_OF float get(const kiln__bf16 *p) { return kiln__get_bf16(*p); }
VEC_OF void put(float *p, float x) { *p = x; }
VEC_OF void put(kiln__bf16 *p, float x) { *p = kiln__put_bf16(x); }

// Added to a number, it rounds to an integer n and leaves n + 127 in the low bits.
#define VF_SHIFTER 12583039.0f  // 1.5 * 2^23 + 127

typedef float vf __attribute__((ext_vector_type(KILN_VL)));
typedef int32_t vi __attribute__((ext_vector_type(KILN_VL)));
typedef uint32_t vu __attribute__((ext_vector_type(KILN_VL)));
typedef uint16_t vh __attribute__((ext_vector_type(KILN_VL)));
#define LANES KILN_VL
#define VF vf
#define VI vi
#define VU vu
#define VH vh
#define GIVES(name) vf_##name
#include "simd/lanes.h"

#define KILN_WL (4 * KILN_VL)
typedef float vw __attribute__((ext_vector_type(KILN_WL)));
typedef int32_t vwi __attribute__((ext_vector_type(KILN_WL)));
typedef uint32_t vwu __attribute__((ext_vector_type(KILN_WL)));
typedef uint16_t vwh __attribute__((ext_vector_type(KILN_WL)));
#define LANES KILN_WL
#define VF vw
#define VI vwi
#define VU vwu
#define VH vwh
#define GIVES(name) vw_##name
#include "simd/lanes.h"

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
VEC void v4_store(float *p, v4 v) { memcpy(p, &v, sizeof v); }
