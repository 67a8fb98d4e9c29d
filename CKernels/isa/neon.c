// NEON: 4 lanes; a GEMM tile of 8 x 12 fills 24 of the 32 registers.
#include "core/internal.h"

#if defined(__aarch64__)
#define KILN_VL 4
#define KILN_FMA 1
#define KILN_GEMM_MR 8
#define KILN_GEMM_NV 3
#define KILN_GEMM_QUADS 0
#define KILN_GEMM_KC 256
#define KILN_GEMM_MC 96
#include "isa/kernels.h"

static bool available(void) { return true; }

const kiln__row kiln__row_neon = {
    "neon", KILN_ISA_NEON, available, KILN_ROW_COLUMNS};
#endif
