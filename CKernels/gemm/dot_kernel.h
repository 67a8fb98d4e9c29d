// Products of bf16 by vdpbf16ps: each lane of fp32 adds up the products of a pair.
#define GEMM_STEPS 2
#define GEMM_MADD(a, b, sum) (vf) _mm512_dpbf16_ps(sum, (__m512bh)(a), (__m512bh)(b))

#include "gemm/pair_kernel.h"
#include "gemm/tile_kernel.h"
#include "gemm/part_kernel.h"
#include "gemm/sum_rows_kernel.h"
#include "gemm/sum_kernel.h"

static const kiln__gemm_kernels gemm_kernels = {
    .direct = gemm_direct, .prefers_direct = gemm_prefers_direct,
    .mr = KILN_GEMM_MR, .nr = KILN_GEMM_NR, .item = sizeof(kiln__bf16), .steps = GEMM_STEPS,
    .kc = KILN_GEMM_KC, .mc = KILN_GEMM_MC,
    .pack_a = gemm_pack_a_bf16, .pack_b = gemm_pack_b_bf16, .sum_a = gemm_sum_a, .sum_b = gemm_sum_b,
    .packed = gemm_packed};
