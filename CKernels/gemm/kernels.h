// Matrix products: what the kernels take.
//
// The product of packed panels is that of Goto and van de Geijn ("Anatomy of high-performance matrix multiplication",
// 2008) and BLIS: a tile of mr x nr sums stays in registers while a strip of mr rows of a and one of nr columns of b,
// laid out in the order of use, stream past it.
#ifndef KILN_GEMM_KERNELS_H
#define KILN_GEMM_KERNELS_H

#include "sparse/kernels.h"

// Element (b, i, j) lies b * batch + i * row + j * col elements from data. data may be NULL.
typedef struct kiln__matrix {
  void *data;
  int64_t batch, row, col;
} kiln__matrix;

// b in blocks: rows of `cols` elements, `stride` bytes apart. format 0: it is not in blocks.
typedef struct kiln__blocks {
  kiln_block_format format;
  bool along_k;         // rows follow k, as where b is given transposed; otherwise they follow n
  const uint8_t *data;
  int64_t stride, cols;
  const float *absmax;  // of NF4
} kiln__blocks;

// What becomes of the sums over k: v = alpha * (sum + carry) * row_scale * col_scale + bias; preactivation = v;
// v = act(v), or v * act'(gradient_at) where that is given; v += residual; c = v or c += v. All matrices have stride 1
// in n.
typedef struct kiln__gemm_finish {
  kiln__matrix c, preactivation, gradient_at, residual;
  kiln_dtype dtype;    // of these four; everything else here is wide
  kiln__matrix carry;  // the sums over the runs of k before this one
  const void *bias;    // [n]
  const float *row_scale, *col_scale;  // [m], [n]; NULL: 1
  float alpha;
  kiln_activation activation;
  bool accumulate;
  bool plain;  // sums are all there is: of operands, not of their data, and so the same in query mode
} kiln__gemm_finish;

// c [m, n] of a [m, k] and b [k, n], both of any strides.
typedef struct kiln__gemm_args {
  kiln__matrix a, b;
  kiln_dtype a_dtype, b_dtype;  // b_dtype of blocks: F32, to which they are unpacked
  kiln__blocks blocks;          // in place of b
  bool is_sparse;               // b.data are the values of `sparse`, or of its transpose
  bool sparse_transposed;       // b is sparse^T, [cols, rows]
  kiln__sparse sparse;
  int64_t batches, m, n, k;
  kiln__gemm_finish finish;
  void *bias_gradient;  // wide, with one batch: alpha * the sums over k of a, [m], or of b, [n]; or += as c
  bool bias_gradient_of_b;
} kiln__gemm_args;

// Where something stands in c.
typedef struct kiln__gemm_part {
  int64_t batch, i, j, rows, cols;
} kiln__gemm_part;

typedef void kiln__gemm_pack(void *dst, const void *x, int64_t across, int64_t along, int64_t extent, int64_t k,
                             int64_t strips);
typedef void kiln__gemm_sum(float *sums, const void *strips, int64_t extent, int64_t k, float alpha, bool accumulate);

typedef struct kiln__gemm_kernels {
  // One part straight from a and b: all rows, KILN_GEMM_FEW at most, or all columns (up to that of any product), and
  // KILN_GEMM_DIRECT_SUMS elements at most. It must know bias_gradient only where it is the only way.
  void (*direct)(const kiln__gemm_args *g, const kiln__gemm_part *p);
  // Whether `direct` does this product better than packing. NULL: `packed` does every one, or, where that is NULL,
  // `direct` does, and nothing below is there.
  bool (*prefers_direct)(const kiln__gemm_args *g);

  int32_t mr, nr;      // the tile in registers
  int32_t item;        // bytes of a packed element
  int32_t steps;       // zeros fill k up to a multiple of these; divides kc
  int32_t tail;        // bytes after a packed row, for the kernels' own use
  int32_t kc;          // most of k in one run
  int32_t mc;          // most rows of a, or columns of b, in one part: mc x kc of them stay in the second cache
  // Packs strips of rows of a or columns of b, one after another. Each holds `width` rows of k steps, filled up, in the
  // order in which `packed` wants them; beyond the matrix they are 0. `x` points at the first element, `across` and
  // `along` are the strides from row to row (or column to column) and along k; `extent` rows there are from x on.
  kiln__gemm_pack *pack_a, *pack_b;
  // sums[i] = alpha * the sum over their k steps of row i of packed strips of a, or of column i of those of b; or +=.
  kiln__gemm_sum *sum_a, *sum_b;
  // One part from packed strips of k steps.
  void (*packed)(const kiln__gemm_finish *f, const kiln__gemm_part *p, const void *a, const void *b, int64_t k);
} kiln__gemm_kernels;

// Most rows or columns that are few, and most elements of c in one part of a direct product.
enum { KILN_GEMM_FEW = 16, KILN_GEMM_DIRECT_SUMS = 2048 };

// Whether a direct product goes by the rows of a; otherwise it goes by the columns of b.
static inline bool kiln__gemm_has_few_rows(const kiln__gemm_args *g) {
  return g->m <= KILN_GEMM_FEW && (g->b.row == 1 || g->b.col == 1);
}

extern const kiln__gemm_kernels kiln__gemm_ref_f32, kiln__gemm_ref_f64;

#endif
