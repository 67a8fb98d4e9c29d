// Products of int8 by int8: a packed unit is a pair of them, as int16, that follow each other along k. Sums are exact in
// int32, and so is their conversion to fp32 after a run of k: 1024 * 127^2 < 2^24. What the macros mean: fma_kernel.h.
#undef GEMM
#undef GEMM_UNIT
#undef GEMM_STEPS
#undef GEMM_READ
#undef GEMM_READ4
#undef GEMM_MADD
#undef GEMM_UNROLL_STEPS
#undef GEMM_TOTAL
#undef GEMM_KC
#define GEMM(name) name##_i8
#define GEMM_UNIT 2
#define GEMM_STEPS 2
#define GEMM_READ(x, along, k) gemm_pair_i8(x, along, k)
#define GEMM_READ4(x) gemm_pairs_i8(x)
// Sums of integers may be made in any order: over several steps at once the compiler would first add up what they
// contribute, and run out of registers.
#define GEMM_UNROLL_STEPS _Pragma("clang loop unroll(disable)")
#define GEMM_MADD(a, b, sum) (vf)((vi)(sum) + vi_multiply_pairs((vi)(a), (vi)(b)))
#define GEMM_TOTAL(sum) __builtin_convertvector((vi)(sum), vf)
#define GEMM_KC (2 * KILN_GEMM_KC < 1024 ? 2 * KILN_GEMM_KC : 1024)

VEC float gemm_pair_i8(const int8_t *x, int64_t along, int64_t k) {
  int16_t pair[2] = {k > 0 ? x[0] : 0, k > 1 ? x[along] : 0};
  float unit;
  memcpy(&unit, pair, sizeof unit);
  return unit;
}

VEC v4 gemm_pairs_i8(const int8_t *x) {
  int8_t __attribute__((ext_vector_type(8))) bytes;
  memcpy(&bytes, x, sizeof bytes);
  return (v4)__builtin_convertvector(bytes, int16_t __attribute__((ext_vector_type(8))));
}

#include "gemm/tile_kernel.h"
#include "gemm/part_kernel.h"

#define ELEMENT int8_t
#define KER(name) name##_i8
#include "gemm/narrow_kernel.h"
#undef ELEMENT
#undef KER
