/// Sums, copies and fills: what is left between the families.
#ifndef KILN_ELEMENTWISE_H
#define KILN_ELEMENTWISE_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

/// y = a + b, all of one shape and dtype (F32, F64, BF16 or F16), stride 1 in the last dimension, leading dimensions
/// that fold. y may be a or b.
KILN_API kiln_status kiln_add(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *a, const kiln_tensor *b);

/// Every element of y = value. Any strides.
KILN_API kiln_status kiln_fill(kiln_context *ctx, const kiln_tensor *y, double value);

/// y = x, of one shape, any strides, converted between F32, F64, F16, BF16, F8_E4M3 and F8_E5M2: to the nearest, ties to
/// even, the types of 8 bits with the rules of kiln_cast in quant.h; integer types only to themselves.
KILN_API kiln_status kiln_copy(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x);

/// out = sum of x^2 over all elements; with `accumulate` out += it. out F64, one element; x dense, F32, F64,
/// BF16 or F16.
/// Summed in fp64 over fixed blocks of 4096 elements; not finite iff an element is not finite (or the sum exceeds
/// fp64).
KILN_API kiln_status kiln_sum_squares(kiln_context *ctx, const kiln_tensor *out, const kiln_tensor *x, bool accumulate);

#ifdef __cplusplus
}
#endif
#endif
