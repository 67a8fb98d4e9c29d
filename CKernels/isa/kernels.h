// Compiles every family's kernels for one instruction set: include it inside a pushed target, after setting
//   KILN_VL             lanes of fp32 in a vector
//   KILN_FMA            1 where a fused multiply-add is one instruction
//   KILN_GEMM_MR, _NV   rows and vectors of the GEMM tile kept in registers
//   KILN_GEMM_QUADS     1 where products of int8 add up four at a time
//   KILN_GEMM_KC        most of k in one run: so long that reading and writing c hardly counts
//   KILN_GEMM_MC        most rows of a, or columns of b, in one part: MC x KC of them fit into the second cache
// All functions are static, so that each instruction set's file has its own.
//
// The families are compiled once for each type that tensors are stored in: ELEMENT, with names like KER(norm_fwd).
// Arithmetic is in fp32 for all, and so are vectors of parameters, all gradients of parameters, statistics and losses.
#include "simd/vec.h"
#include "simd/act.h"

#include "attention/tiles_kernel.h"
#include "gemm/fma_kernel.h"
#include "sparse/kernel.h"
#include "sparse/block_kernel.h"
#include "sparse/group_kernel.h"

#define ELEMENT float
#define KER(name) name##_f32
#include "isa/families.h"
#include "quant/kernel.h"
#include "optim/kernel.h"
#undef ELEMENT
#undef KER

#define ELEMENT kiln__bf16
#define KER(name) name##_bf16
#include "isa/families.h"
#undef ELEMENT
#undef KER

#define ELEMENT kiln__f16
#define KER(name) name##_f16
#include "isa/families.h"
#undef ELEMENT
#undef KER

// Numbers in 8 bits are operands of products alone: widened to fp32 beside those of another type, and int8 by int8.
#define GEMM_KC KILN_GEMM_KC
#define ELEMENT kiln__e4m3
#define KER(name) name##_e4m3
#include "gemm/narrow_kernel.h"
#undef ELEMENT
#undef KER

#define ELEMENT kiln__e5m2
#define KER(name) name##_e5m2
#include "gemm/narrow_kernel.h"
#undef ELEMENT
#undef KER

#define ELEMENT int8_t
#define KER(name) name##_i8_mixed
#include "gemm/narrow_kernel.h"
#undef ELEMENT
#undef KER

#if KILN_GEMM_QUADS
#include "gemm/quad_kernel.h"
#else
#include "gemm/int8_kernel.h"
#endif

// A column of the row; updates of weights and conversions of narrow numbers have kernels for fp32 alone.
#define KILN_ROW_KERNELS(type, optim_kernels, quant_kernels)                          \
  {                                                                                   \
    .activation = &activation_kernels_##type, .attention = &attention_kernels_##type, \
    .elementwise = &elementwise_kernels_##type, .embedding = &embedding_kernels_##type, \
    .gemm = &gemm_kernels_##type, .gemm_mixed = &gemm_kernels_##type,                 \
    .loss = &loss_kernels_##type, .norm = &norm_kernels_##type,                       \
    .optim = optim_kernels, .quant = quant_kernels, .rope = &rope_kernels_##type,     \
    .sparse = &sparse_kernels_##type                                                 \
  }
#define KILN_ROW_COLUMNS                                                                                   \
  .f32 = KILN_ROW_KERNELS(f32, &optim_kernels, &quant_kernels), .bf16 = KILN_ROW_KERNELS(bf16, NULL, NULL), \
  .f16 = KILN_ROW_KERNELS(f16, NULL, NULL),                                                                \
  .i8 = {.gemm = &gemm_kernels_i8, .gemm_mixed = &gemm_kernels_i8_mixed},                                  \
  .e4m3 = {.gemm = &gemm_kernels_e4m3, .gemm_mixed = &gemm_kernels_e4m3},                                  \
  .e5m2 = {.gemm = &gemm_kernels_e5m2, .gemm_mixed = &gemm_kernels_e5m2}
