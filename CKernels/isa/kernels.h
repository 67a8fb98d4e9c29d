// Compiles every family's kernels for one instruction set: include it inside a pushed target, after setting
//   KILN_VL             lanes of fp32 in a vector
//   KILN_FMA            1 where a fused multiply-add is one instruction
//   KILN_GEMM_MR, _NV   rows and vectors of the GEMM tile kept in registers
//   KILN_GEMM_KC        most of k in one run: so long that reading and writing c hardly counts
//   KILN_GEMM_MC        most rows of a, or columns of b, in one part: MC x KC of them fit into the second cache
// All functions are static, so that each instruction set's file has its own.
//
// The families are compiled once for each type that tensors are stored in: ELEMENT, with names like KER(norm_fwd).
// Arithmetic is in fp32 for both, and so are vectors of parameters, all gradients of parameters, statistics and losses.
#include "simd/vec.h"
#include "simd/act.h"

#include "attention/tiles_kernel.h"
#include "gemm/fma_kernel.h"

#define ELEMENT float
#define KER(name) name##_f32
#include "isa/families.h"
#include "optim/kernel.h"
#undef ELEMENT
#undef KER

#define ELEMENT kiln__bf16
#define KER(name) name##_bf16
#include "isa/families.h"
#undef ELEMENT
#undef KER

#define KILN_ROW_KERNELS(type) KILN_ROW_##type
#define KILN_ROW_f32                                                                                      \
  {                                                                                                       \
    .activation = &activation_kernels_f32, .attention = &attention_kernels_f32,                           \
    .elementwise = &elementwise_kernels_f32, .embedding = &embedding_kernels_f32,                         \
    .gemm = &gemm_kernels_f32, .loss = &loss_kernels_f32, .norm = &norm_kernels_f32, .optim = &optim_kernels, \
    .rope = &rope_kernels_f32                                                                             \
  }
#define KILN_ROW_bf16                                                                                     \
  {                                                                                                       \
    .activation = &activation_kernels_bf16, .attention = &attention_kernels_bf16,                         \
    .elementwise = &elementwise_kernels_bf16, .embedding = &embedding_kernels_bf16,                       \
    .gemm = &gemm_kernels_bf16, .loss = &loss_kernels_bf16, .norm = &norm_kernels_bf16, .rope = &rope_kernels_bf16                    \
  }
