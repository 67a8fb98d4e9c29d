// One lane, no instruction beyond the platform's base.
#include "core/internal.h"

#define KILN_VL 1
#define KILN_FMA 0
#define KILN_GEMM_MR 4
#define KILN_GEMM_NV 4
#define KILN_GEMM_QUADS 1
#define KILN_GEMM_KC 256
#define KILN_GEMM_MC 64
#include "isa/kernels.h"

static bool available(void) { return true; }

const kiln__row kiln__row_scalar = {
    "scalar", KILN_ISA_SCALAR, available, KILN_ROW_COLUMNS};
