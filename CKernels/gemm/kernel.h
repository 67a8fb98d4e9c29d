// Matrix products: what reads a and b from memory, for each type that activations are stored in.
#include "gemm/pack_kernel.h"
#include "gemm/direct_kernel.h"

static const kiln__gemm_kernels KER(gemm_kernels) = {
    .direct = KER(gemm_direct), .prefers_direct = KER(gemm_prefers_direct),
    .mr = KILN_GEMM_MR, .nr = KILN_GEMM_NR, .item = sizeof(float) / GEMM_UNIT, .steps = GEMM_STEPS,
    .kc = KILN_GEMM_KC, .mc = KILN_GEMM_MC,
    .pack_a = KER(gemm_pack_a), .pack_b = KER(gemm_pack_b), .sum_a = gemm_sum_a, .sum_b = gemm_sum_b,
    .packed = gemm_packed};
