/// Matrix products with a closed set of epilogues.
#ifndef KILN_GEMM_H
#define KILN_GEMM_H

#include "activation.h"
#include "quant.h"
#include "sparse.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kiln_gemm_options {
  uint32_t size;
  uint32_t transpose_a;              ///< a is given as [k, m] ([..., k, m] batched)
  uint32_t transpose_b;              ///< b is given as [n, k] ([..., n, k] batched)
  uint32_t accumulate;               ///< c += instead of c =
  kiln_activation activation;        ///< default: none
  float alpha;                       ///< default 1
  const kiln_tensor *bias;           ///< [n], default none; F32 for narrow a and b
  const kiln_tensor *residual;       ///< of c's shape, default none; may be c itself when not accumulating
  const kiln_tensor *preactivation;  ///< output of c's shape, default none: what the backward of the activation needs
  const kiln_tensor *gradient_at;    ///< of c's shape, default none: a saved preactivation; c gets the gradient of act
                                     ///< there in place of act itself; may be c itself when not accumulating
  const kiln_tensor *bias_gradient;  ///< output [m] or [n], default none; F32 for narrow a and b; not for batches
  uint32_t bias_gradient_of_b;       ///< bias_gradient is that of b's columns, [n], in place of a's rows
  const kiln_tensor *a_scales;       ///< F32 [m] or [1], default none: what a's numbers in 8 bits are multiplied by
  const kiln_tensor *b_scales;       ///< F32 [n] or [1], for b; for b in NF4 the absmax of its blocks
  kiln_block_format b_blocks;        ///< default 0: b is not in blocks
  uint32_t reserved;
  const kiln_sparse *b_sparse;       ///< default none: b is dense
} kiln_gemm_options;

static inline kiln_gemm_options kiln_gemm_defaults(void) {
  kiln_gemm_options o = {(uint32_t)sizeof(kiln_gemm_options), 0, 0, 0, KILN_ACT_NONE, 1,
                         NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL, (kiln_block_format)0, 0, NULL};
  return o;
}

/// p = alpha * a b + bias;  c = act(p) + residual  (or c += that);  preactivation = p.
/// With gradient_at, c = p * act'(gradient_at) + residual: dX = dY W of a layer whose input was act(gradient_at).
/// bias_gradient = alpha * the sums over k of op(a)'s rows, or of op(b)'s columns (or += that, as c): what dW = dY^T X,
/// or dW = X^T dY, gives for the bias of its layer while it reads dY.
/// a [m, k], b [k, n], c [m, n]; or all with the same one leading batch dimension. k may be 0 (the product is then 0).
/// a and b take any strides; c, residual, preactivation and gradient_at need stride 1 in n.
/// a and b have one dtype: F32, F64, BF16 or F16. c has it too, or is F32 for narrow a and b (gradients of weights,
/// logits); residual, preactivation and gradient_at have c's dtype, bias has a's, or F32 for narrow ones.
/// Operands in 8 bits (I8, F8_E4M3, F8_E5M2; quant.h makes them) may stand beside each other, of one type or two, or
/// beside one in F32, BF16 or F16, whose type c then goes by; beside each other, c is F32, BF16 or F16, and the rest goes
/// by c. Their scales multiply the sums. The sums of I8 by I8 are exact over runs of at most 1024 steps, which are added
/// in fp32; other numbers in 8 bits are widened to fp32. bias_gradient is not for 8 bits and blocks (KILN_ERR_OPTION).
/// b in blocks (Q8_0, Q4_0, Q4_1, NF4; quant.h makes them) is a matrix U8 of the rows' blocks, stride 1 in the last
/// dimension, beside a in F32, BF16 or F16; it is unpacked to fp32 a piece at a time.
/// A sparse b (b_sparse; sparse.h) is a matrix W: b is the tensor of its values, of a's dtype, and stands for W, or with
/// transpose_b for W^T. a is then a matrix with stride 1 along k, and there are neither scales nor bias_gradient.
/// Accumulation in fp32 over all of k, in an order that depends on shapes, strides and the instruction set alone.
/// Where an instruction adds up several products of bf16 (avx512_bf16, amx), it takes subnormal numbers as zero and
/// rounds each of its sums to fp32.
KILN_API kiln_status kiln_gemm(kiln_context *ctx, const kiln_tensor *c, const kiln_tensor *a, const kiln_tensor *b,
                               const kiln_gemm_options *options);

typedef struct kiln_bias_options {
  uint32_t size;
  uint32_t accumulate; ///< dbias += instead of =
} kiln_bias_options;

static inline kiln_bias_options kiln_bias_defaults(void) {
  kiln_bias_options o = {(uint32_t)sizeof(kiln_bias_options), 0};
  return o;
}

/// dbias = sum over rows of dy: the gradient of a bias. dbias [n], F32 for a narrow dy; dy [..., n].
KILN_API kiln_status kiln_bias_bwd(kiln_context *ctx, const kiln_tensor *dbias, const kiln_tensor *dy,
                                   const kiln_bias_options *options);

#ifdef __cplusplus
}
#endif
#endif
