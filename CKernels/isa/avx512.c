// AVX-512: 16 lanes; a GEMM tile of 14 x 32 fills 28 of the 32 registers.
#include "core/internal.h"

#if defined(__x86_64__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c"))), \
                             apply_to = function)

#define KILN_VL 16
#define KILN_FMA 1
#define KILN_GEMM_MR 14
#define KILN_GEMM_NV 2
#define KILN_GEMM_QUADS 0
#define KILN_GEMM_KC 192
#define KILN_GEMM_MC 224
#include "isa/kernels.h"

#pragma clang attribute pop

static bool available(void) {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

const kiln__row kiln__row_avx512 = {
    "avx512", KILN_ISA_AVX512, available, KILN_ROW_COLUMNS};
#endif
