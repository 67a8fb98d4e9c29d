// AVX512_VNNI: avx512, and vpdpbusd for products of int8, with tiles of as many bytes.
#include "core/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c"))), \
                             apply_to = function)

#define KILN_VL 16
#define KILN_FMA 1
#define KILN_GEMM_MR 14
#define KILN_GEMM_NV 2
#define KILN_GEMM_MC 224
#include "simd/vec.h"
#include "simd/act.h"
#include "gemm/finish_kernel.h"
#include "gemm/quad_kernel.h"

#pragma clang attribute pop

static bool available(void) { return kiln__row_avx512.available() && __builtin_cpu_supports("avx512vnni"); }

const kiln__row kiln__row_avx512_vnni = {
    "avx512_vnni", KILN_ISA_AVX512_VNNI, available, .i8.gemm = &gemm_kernels_i8, .base = &kiln__row_avx512};
#endif
