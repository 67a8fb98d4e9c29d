// Compiles every family's kernels for one instruction set: include it inside a pushed target, after setting
//   KILN_VL             lanes of fp32 in a vector
//   KILN_FMA            1 where a fused multiply-add is one instruction
//   KILN_GEMM_MR, _NV   rows and vectors of the GEMM tile kept in registers
//   KILN_GEMM_KC        most of k in one run: a strip of b, KC x NV vectors, takes half of the first cache
//   KILN_GEMM_MC, _NC   most of c in one part: MC x KC of a and MC x NC of c fit into the second cache
// All functions are static, so that each instruction set's file has its own.
#include "simd/vec.h"
#include "simd/act.h"

#include "activation/kernel.h"
#include "attention/kernel.h"
#include "elementwise/kernel.h"
#include "embedding/kernel.h"
#include "gemm/kernel.h"
#include "loss/kernel.h"
#include "norm/kernel.h"
#include "optim/kernel.h"
#include "rope/kernel.h"

#define KILN_ROW_KERNELS                                                                                   \
  {                                                                                                        \
    .activation = &activation_kernels, .attention = &attention_kernels, .elementwise = &elementwise_kernels, \
    .embedding = &embedding_kernels, .gemm = &gemm_kernels, .loss = &loss_kernels, .norm = &norm_kernels,   \
    .optim = &optim_kernels, .rope = &rope_kernels                                                         \
  }
