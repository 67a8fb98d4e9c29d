// AVX512_BF16: avx512_vnni, and vdpbf16ps for products of bf16, with tiles of as many bytes.
#include "core/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c"))), \
                             apply_to = function)

#define KILN_VL 16
#define KILN_FMA 1
#define KILN_GEMM_MR 14
#define KILN_GEMM_NV 2
#define KILN_GEMM_KC 384
#define KILN_GEMM_MC 224
#include "simd/vec.h"
#include "simd/act.h"
#include "gemm/dot_kernel.h"

#pragma clang attribute pop

static bool available(void) { return kiln__row_avx512_vnni.available() && __builtin_cpu_supports("avx512bf16"); }

const kiln__row kiln__row_avx512_bf16 = {
    "avx512_bf16", KILN_ISA_AVX512_BF16, available, .bf16.gemm = &gemm_kernels, .base = &kiln__row_avx512_vnni};
#endif
