/// Narrow numbers: casts to 16 and 8 bits, integers with scales, and the block formats of files and optimizers.
///
/// `x` and `y` are F32, F64 or BF16; arithmetic is in fp32, to which F64 is rounded first. Where it says "dense", a
/// tensor is seen as the sequence of its elements. A scale that belongs to an element that is not finite is NaN: what
/// was quantised with it decodes to NaN, so that a fault is seen.
#ifndef KILN_QUANT_H
#define KILN_QUANT_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kiln_rounding {
  KILN_ROUND_NEAREST = 0,   ///< ties to even
  KILN_ROUND_STOCHASTIC = 1 ///< up or down, so that the mean is the number itself
} kiln_rounding;

/// How to round. Element i (row-major) of a call takes the random word of (seed, step, site, i) as in random.h, so the
/// result does not depend on threads.
typedef struct kiln_rounding_options {
  uint32_t size;
  uint32_t site;           ///< which use of random numbers this is
  uint64_t seed;
  uint64_t step;
  kiln_rounding rounding;  ///< default KILN_ROUND_NEAREST
} kiln_rounding_options;

static inline kiln_rounding_options kiln_rounding_defaults(void) {
  kiln_rounding_options o = {(uint32_t)sizeof(kiln_rounding_options), 0, 0, 0, KILN_ROUND_NEAREST};
  return o;
}

/// y = x * scale, of one shape, stride 1 in the last dimension, leading dimensions that fold. One of them is F32, F64
/// or BF16, the other any floating-point type. `scale` F32 with one element; NULL is 1.
///
/// F8_E4M3 has the largest number 448, one NaN and no infinity; F8_E5M2 has 57344, infinities and NaNs (Micikevicius et
/// al., arXiv 2209.05433). Finite numbers beyond these become them: no NaN or infinity is made from a finite product.
/// Infinity becomes NaN in F8_E4M3. F16 and BF16 round to infinity as IEEE 754 has it. NaN stays NaN.
///
/// Stochastic: of a type with m bits of fraction, the word's first 23 - m bits are added below the last place that is
/// kept, which is then truncated. Numbers below the least normal one are first rounded to 23 - m bits below it.
/// y must then be F16, BF16 or of 8 bits.
KILN_API kiln_status kiln_cast(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x, const kiln_tensor *scale,
                               const kiln_rounding_options *options);

/// out = the largest |x|; NaN iff an element is NaN. out F32, one element; x dense.
KILN_API kiln_status kiln_absmax(kiln_context *ctx, const kiln_tensor *out, const kiln_tensor *x);

/// The scale of an 8-bit float from the history of its tensor's largest magnitudes (delayed scaling; with one element,
/// current scaling): scale = largest / max(amax) / 2^margin, inverse = 1 / scale, where largest is that of `dtype`
/// (F8_E4M3 or F8_E5M2). If max(amax) is 0 or not finite, or one of the two results is, both are left as they are.
/// scale and inverse F32 with one element each, updated in place; amax F32, dense.
/// @return KILN_ERR_OPTION unless 0 <= margin <= 64
KILN_API kiln_status kiln_float8_scale(kiln_context *ctx, const kiln_tensor *scale, const kiln_tensor *inverse,
                                       const kiln_tensor *amax, kiln_dtype dtype, int32_t margin);

/// q = x / scale rounded to an integer of -127 ... 127, scale = max |x| / 127 of a tile of x. x and q (I8) have one
/// shape, seen as rows [r, c] as in kiln_cast. scales F32, dense, rank 2 [R, C] where R divides r and C divides c: each
/// is for a tile of r/R rows and c/C columns. So [r, 1] is a scale a row, [1, c] one a column, [1, 1] one for all.
/// A tile of zeros has scale 0. Stochastic: floor(v), plus 1 if the word's 24 high bits / 2^24 < v - floor(v).
KILN_API kiln_status kiln_quantize_int8(kiln_context *ctx, const kiln_tensor *q, const kiln_tensor *scales,
                                        const kiln_tensor *x, const kiln_rounding_options *options);

/// y = q * scale, as above.
KILN_API kiln_status kiln_dequantize_int8(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *q,
                                          const kiln_tensor *scales);

/// Block formats: those of GGUF, 32 elements of a row, by the numbers of its tensor types; and NF4, 64 elements, which
/// kiln_gemm alone takes by this number.
typedef enum kiln_block_format {
  KILN_Q4_0 = 2, ///< 18 bytes: f16 d, then 16 bytes, element j in the low and j + 16 in the high half; (q - 8) d
  KILN_Q4_1 = 3, ///< 20 bytes: f16 d, f16 m, then as above; q d + m
  KILN_Q8_0 = 8, ///< 34 bytes: f16 d, then 32 signed bytes; q d
  KILN_NF4 = 256 ///< 32 bytes: codes of kiln_quantize_nf4, whose absmax are kept apart
} kiln_block_format;

/// Bytes of a block of 32 elements, 0 for another format.
KILN_API size_t kiln_block_bytes(kiln_block_format format);

/// x [..., c], c a multiple of 32; blocks U8 [..., c/32 * kiln_block_bytes(format)]; both seen as rows as in kiln_cast.
/// Bit for bit what ggml's reference computes: d = (the element of largest magnitude) / -8 and q = trunc(x/d + 8.5) for
/// Q4_0; d = (max - min) / 15, m = min and q = trunc((x - min)/d + 0.5) for Q4_1, both at most 15; d = max |x| / 127
/// and q = x/d to the nearest, ties away from zero, for Q8_0. Divisions by d are products with its inverse in fp32 (0
/// where d is 0 or subnormal); then d and m are rounded to f16, beyond whose range they become infinite.
KILN_API kiln_status kiln_quantize_blocks(kiln_context *ctx, const kiln_tensor *blocks, const kiln_tensor *x,
                                          kiln_block_format format);
KILN_API kiln_status kiln_dequantize_blocks(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *blocks,
                                            kiln_block_format format);

/// NF4 (Dettmers et al., QLoRA, arXiv 2305.14314), bit for bit as bitsandbytes: 16 quantiles of the normal
/// distribution, absmax of each 64 elements. x dense, n elements; codes U8 [ceil(n/2)], the first element in the high
/// half. absmax F32 [ceil(n/64)]; or, with double quantisation, U8: then `offset` F32 [1] is the mean of the absmax
/// (summed in fp64), and absmax - offset is kept by kiln_quantize_dynamic's signed map with `scales` F32
/// [ceil(n/64/256)]. Without it, scales and offset are NULL. A block of zeros has code 7.
KILN_API kiln_status kiln_quantize_nf4(kiln_context *ctx, const kiln_tensor *codes, const kiln_tensor *absmax,
                                       const kiln_tensor *scales, const kiln_tensor *offset, const kiln_tensor *x);
KILN_API kiln_status kiln_dequantize_nf4(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *codes,
                                         const kiln_tensor *absmax, const kiln_tensor *scales,
                                         const kiln_tensor *offset);

/// The dynamic 8-bit map (Dettmers et al., arXiv 2110.02861): codes U8 of x's number of elements, dense; scales F32
/// [ceil(n/256)], the largest magnitude of each 256 elements. The code is that of the number nearest to x / scale, of
/// 256 numbers in -0.993 ... 1, or 0 ... 1 for the unsigned map, which takes negative numbers as 0; ties to the larger
/// magnitude. x / scale is a product with the inverse. A block whose scale would be subnormal becomes zeros.
KILN_API kiln_status kiln_quantize_dynamic(kiln_context *ctx, const kiln_tensor *codes, const kiln_tensor *scales,
                                           const kiln_tensor *x, bool is_signed);
KILN_API kiln_status kiln_dequantize_dynamic(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *codes,
                                             const kiln_tensor *scales, bool is_signed);

/// Activations in 8, 4 or 2 bits (`bits`), after ActNN (Chen et al., arXiv 2104.14129): for each group of 256 elements
/// of dense x a bf16 `scale` and `low`, and codes q = (x - low) / scale rounded stochastically, whatever `options`
/// says, so that the mean of q scale + low is x. For that, low is the group's minimum rounded down to bf16, and scale =
/// (maximum - low) / (2^bits - 1) rounded up. If that exceeds the range of bf16, both are NaN. scales BF16 [groups, 2]:
/// scale, low. codes U8 [groups, 32 bits]: byte i of a group has, from its low bits on, the elements i, i + 32 bits, i
/// + 64 bits ...; a last group that is not full has code 0 where there are no elements.
KILN_API kiln_status kiln_quantize_groups(kiln_context *ctx, const kiln_tensor *codes, const kiln_tensor *scales,
                                          const kiln_tensor *x, int32_t bits, const kiln_rounding_options *options);
KILN_API kiln_status kiln_dequantize_groups(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *codes,
                                            const kiln_tensor *scales, int32_t bits);

#ifdef __cplusplus
}
#endif
#endif
