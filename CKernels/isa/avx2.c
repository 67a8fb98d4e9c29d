// AVX2 + FMA: 8 lanes; a GEMM tile of 6 x 16 fills 12 of the 16 registers.
#include "core/internal.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

#define KILN_VL 8
#define KILN_FMA 1
#define KILN_GEMM_MR 6
#define KILN_GEMM_NV 2
#define KILN_GEMM_QUADS 0
#define KILN_GEMM_KC 768
#define KILN_GEMM_MC 96
#include "isa/kernels.h"

#pragma clang attribute pop

static bool available(void) {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

const kiln__row kiln__row_avx2 = {
    "avx2", KILN_ISA_AVX2, available, KILN_ROW_COLUMNS};
#endif
