// Products of bf16 by instructions that take several steps of k: a packed unit is a pair of bf16 that follow each other
// along k. What else GEMM_... mean: fma_kernel.h. A file that includes this one has set GEMM_STEPS.
#define GEMM(name) name
#define GEMM_UNIT 2
#define GEMM_TAIL 0
#define GEMM_READ(x, along, k) gemm_pair(x, along, k)
#define GEMM_READ4(x) v4_load((const float *)(x))
#define GEMM_UNROLL_STEPS _Pragma("clang loop unroll_count(4)")
#define GEMM_START(a, units, i) vf_set(0)
#define GEMM_TOTAL(sum) (sum)
#define GEMM_ADD(x, sum) gemm_add_pairs(x, sum)

#define ELEMENT kiln__bf16
#define KER(name) name##_bf16

VEC float gemm_pair(const kiln__bf16 *x, int64_t along, int64_t k) {
  kiln__bf16 pair[2] = {k > 0 ? x[0] : (kiln__bf16){0}, k > 1 ? x[along] : (kiln__bf16){0}};
  float unit;
  memcpy(&unit, pair, sizeof unit);
  return unit;
}

VEC vf gemm_add_pairs(vf pairs, vf sum) {
  vi bits = (vi)pairs;
  return sum + ((vf)(bits << 16) + (vf)(bits & (int32_t)0xffff0000));
}

#include "gemm/finish_kernel.h"
#include "gemm/pack_kernel.h"

// Products with few rows or columns are bound by memory: AVX-512's own.
static void gemm_direct(const kiln__gemm_args *g, const kiln__gemm_part *p) {
  kiln__row_avx512.bf16.gemm->direct(g, p);
}

static bool gemm_prefers_direct(const kiln__gemm_args *g) { return kiln__row_avx512.bf16.gemm->prefers_direct(g); }
