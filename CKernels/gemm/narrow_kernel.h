// Matrix products of numbers in 8 bits: their packing.
#include "gemm/pack_kernel.h"

static const kiln__gemm_kernels KER(gemm_kernels) = {
    .mr = KILN_GEMM_MR, .nr = KILN_GEMM_NR, .item = sizeof(float) / GEMM_UNIT, .steps = GEMM_STEPS,
    .kc = GEMM_KC, .mc = KILN_GEMM_MC,
    .pack_a = KER(gemm_pack_a), .pack_b = KER(gemm_pack_b), .packed = GEMM(gemm_packed)};
