/// Sparse weights: patterns of what is kept, and what products with them need beside kiln_gemm's `b_sparse`.
#ifndef KILN_SPARSE_H
#define KILN_SPARSE_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Which elements of a matrix W [rows, cols] are kept: whole blocks, or `kept` of each `group` along a row (N:M).
///
/// Blocks: W is cut into block_rows x block_cols, 1 x 1 for single elements; those at its right and lower edge may hang
/// over, and what hangs over counts as 0. The kept ones follow each other row of blocks by row of blocks, in each by
/// column. N:M: block_rows and block_cols are 1, cols is a multiple of `group`.
/// The values of W are a dense tensor [count, block_rows * block_cols], each block by rows.
typedef struct kiln_sparse {
  uint32_t size;
  uint32_t kept;                ///< default 0: blocks
  uint32_t group;               ///< of N:M, 2 ... 256
  uint32_t block_rows;          ///< default 1
  uint32_t block_cols;          ///< default 1
  uint32_t reserved;
  int64_t rows, cols;
  const kiln_tensor *offsets;   ///< I32 [row blocks + 1]: where each row of blocks begins; none for N:M
  const kiln_tensor *columns;   ///< I32 [count]: the column of each block, in blocks; for N:M U8 [rows, cols / group *
                                ///< kept]: the places in each group; ascending either way
} kiln_sparse;

static inline kiln_sparse kiln_sparse_defaults(void) {
  kiln_sparse s = {(uint32_t)sizeof(kiln_sparse), 0, 0, 1, 1, 0, 0, 0, NULL, NULL};
  return s;
}

typedef struct kiln_sparse_gradient_options {
  uint32_t size;
  uint32_t accumulate; ///< dvalues += instead of =
} kiln_sparse_gradient_options;

static inline kiln_sparse_gradient_options kiln_sparse_gradient_defaults(void) {
  kiln_sparse_gradient_options o = {(uint32_t)sizeof(kiln_sparse_gradient_options), 0};
  return o;
}

/// The gradient of W for y = x W^T, where W is kept and nowhere else: dvalues = (dy^T x) at the kept elements.
/// dy [m, rows], x [m, cols], stride 1 in the last dimension; F32, F64, BF16 or F16. dvalues [count, block_rows *
/// block_cols] dense, F32 for narrow ones; 0 for what hangs over the edges. Sums in fp32 over pieces of m in order.
KILN_API kiln_status kiln_sparse_gradient(kiln_context *ctx, const kiln_tensor *dvalues, const kiln_tensor *dy,
                                          const kiln_tensor *x, const kiln_sparse *w,
                                          const kiln_sparse_gradient_options *options);

/// values = the kept elements of dense; 0 for what hangs over. dense [rows, cols], any strides; values [count,
/// block_rows * block_cols] dense, of the same dtype: F32, F64, BF16 or F16.
KILN_API kiln_status kiln_sparse_gather(kiln_context *ctx, const kiln_tensor *values, const kiln_tensor *dense,
                                        const kiln_sparse *w);

/// dense = the values where W is kept, 0 elsewhere. Shapes and dtypes as above.
KILN_API kiln_status kiln_sparse_scatter(kiln_context *ctx, const kiln_tensor *dense, const kiln_tensor *values,
                                         const kiln_sparse *w);

/// norms = the square root of the sum of squares of each block of x, block_rows x block_cols; those at the right and
/// lower edge may hang over. x [rows, cols], any strides; F32, F64, BF16 or F16. norms F32 [row blocks, column blocks],
/// dense. Sums in fp64.
KILN_API kiln_status kiln_block_norms(kiln_context *ctx, const kiln_tensor *norms, const kiln_tensor *x,
                                      int32_t block_rows, int32_t block_cols);

/// y = the `kept` elements of largest magnitude of each `group` along a row of x, 0 for the others; of equal ones the
/// first. x, y [rows, cols], any strides, F32, F64, BF16 or F16, of one type; cols a multiple of `group`, at most 256.
KILN_API kiln_status kiln_mask_groups(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x, int32_t kept,
                                      int32_t group);

/// dx = dy, plus decay * x where kiln_mask_groups makes x 0: the straight-through gradient of SR-STE (Zhou et al.,
/// arXiv 2102.04010). dx and dy of one type, F32 or F64 (F32 for narrow x); dx may be dy. Shapes as above.
KILN_API kiln_status kiln_mask_groups_backward(kiln_context *ctx, const kiln_tensor *dx, const kiln_tensor *dy,
                                               const kiln_tensor *x, int32_t kept, int32_t group, double decay);

/// y = x with each column times the factor of its group: network slimming (Liu et al., arXiv 1708.06519). x, y [rows,
/// cols], any strides, F32, F64, BF16 or F16, of one type; y may be x. factors [groups] of cols / groups columns each, F32
/// (F64 for F64).
KILN_API kiln_status kiln_slim(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x,
                               const kiln_tensor *factors);

/// dx = dy times the factors; dfactors = the sums of dy x over each group, plus penalty * sign(factor), the gradient of
/// penalty * sum |factor|. dx and dy of one type, F32 or F64 (F32 for narrow x); dx may be dy. Shapes as above. Sums in
/// fp64, over rows in order.
KILN_API kiln_status kiln_slim_backward(kiln_context *ctx, const kiln_tensor *dx, const kiln_tensor *dfactors,
                                        const kiln_tensor *dy, const kiln_tensor *x, const kiln_tensor *factors,
                                        double penalty);

/// y, values of pattern `to`, = x, values of pattern `from`, of the same format and shape; 0 where only `to` keeps. x and
/// y [count, block_rows * block_cols], dense, of one type: F32, F64, BF16 or F16; y may be x where the counts are equal.
KILN_API kiln_status kiln_sparse_move(kiln_context *ctx, const kiln_tensor *y, const kiln_sparse *to,
                                      const kiln_tensor *x, const kiln_sparse *from);

/// dy += inside * x where `part` keeps a value of pattern `whole`, beyond * x elsewhere: what pulls weights towards 0. x
/// and dy [count, block_rows * block_cols] of `whole`, dense; x F32, F64, BF16 or F16, dy F32 for narrow x. `part` is of
/// the same format and shape.
KILN_API kiln_status kiln_sparse_decay(kiln_context *ctx, const kiln_tensor *dy, const kiln_tensor *x,
                                       const kiln_sparse *whole, const kiln_sparse *part, double inside,
                                       double beyond);

/// dense = the values where W is kept; the rest stays. Shapes and dtypes as in kiln_sparse_scatter.
KILN_API kiln_status kiln_sparse_insert(kiln_context *ctx, const kiln_tensor *dense, const kiln_tensor *values,
                                        const kiln_sparse *w);

#ifdef __cplusplus
}
#endif
#endif
