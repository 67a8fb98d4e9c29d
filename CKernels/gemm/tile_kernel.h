// Matrix products in vectors: the tile kept in registers, and the parts of c made of tiles. Packed elements are fp32
// whatever a and b are stored in.

enum { KILN_GEMM_NR = KILN_GEMM_NV * KILN_VL };

// Before a loop over registers: sums can only stay in them where all indices are constants.
#define GEMM_UNROLL _Pragma("clang loop unroll(full)")

#include "gemm/finish_kernel.h"

// The plain end of a whole tile: c = alpha * (sums + carry), or c += that.
typedef struct gemm_plain_end {
  float *c;
  const float *carry;
  int64_t ldc, ldcarry;
  float alpha;
  bool accumulate;
} gemm_plain_end;

// One strip of a times one strip of b.
static void gemm_tile(const float *a, const float *b, int64_t k, const gemm_plain_end *end) {
  vf sum[KILN_GEMM_MR][KILN_GEMM_NV];
  GEMM_UNROLL
  for (int i = 0; i < KILN_GEMM_MR; i++) {
    GEMM_UNROLL
    for (int j = 0; j < KILN_GEMM_NV; j++) sum[i][j] = vf_set(0);
  }
  _Pragma("clang loop unroll_count(4)")
  for (int64_t x = 0; x < k; x++) {
    vf line[KILN_GEMM_NV];
    GEMM_UNROLL
    for (int j = 0; j < KILN_GEMM_NV; j++) line[j] = vf_load(b + x * KILN_GEMM_NR + j * KILN_VL);
    GEMM_UNROLL
    for (int i = 0; i < KILN_GEMM_MR; i++) {
      vf value = vf_set(a[x * KILN_GEMM_MR + i]);
      GEMM_UNROLL
      for (int j = 0; j < KILN_GEMM_NV; j++) sum[i][j] = vf_fma(value, line[j], sum[i][j]);
    }
  }
  GEMM_UNROLL
  for (int i = 0; i < KILN_GEMM_MR; i++) {
    GEMM_UNROLL
    for (int j = 0; j < KILN_GEMM_NV; j++) {
      float *c = end->c + i * end->ldc + j * KILN_VL;
      vf v = sum[i][j];
      if (end->carry) v = v + vf_load(end->carry + i * end->ldcarry + j * KILN_VL);
      v = end->alpha * v;
      vf_store(c, end->accumulate ? v + vf_load(c) : v);
    }
  }
}

VEC void gemm_prefetch_rows(const kiln__matrix *x, const kiln__gemm_part *tile, int64_t item) {
  for (int64_t row = 0; row < tile->rows && x->data; row++) {
    __builtin_prefetch((const char *)x->data + gemm_at(x, tile, row) * item, 1, 3);
  }
}

// Fetches, while the sums of a tile run, what its end will need.
VEC void gemm_prefetch(const kiln__gemm_finish *f, const kiln__gemm_part *tile) {
  int64_t item = f->narrow ? sizeof(kiln__bf16) : sizeof(float);
  gemm_prefetch_rows(&f->c, tile, item);
  gemm_prefetch_rows(&f->carry, tile, sizeof(float));
  gemm_prefetch_rows(&f->preactivation, tile, item);
  gemm_prefetch_rows(&f->residual, tile, item);
}

VEC gemm_plain_end gemm_end_in_c(const kiln__gemm_finish *f, const kiln__gemm_part *tile) {
  const float *carry = f->carry.data ? (const float *)f->carry.data + gemm_at(&f->carry, tile, 0) : NULL;
  return (gemm_plain_end){(float *)f->c.data + gemm_at(&f->c, tile, 0), carry, f->c.row, f->carry.row, f->alpha,
                          f->accumulate};
}

static void gemm_packed(const kiln__gemm_finish *f, const kiln__gemm_part *p, const void *a, const void *b, int64_t k) {
  float sums[KILN_GEMM_MR * KILN_GEMM_NR];
  const gemm_plain_end in_sums = {.c = sums, .ldc = KILN_GEMM_NR, .alpha = 1};
  bool plain = gemm_is_plain(f);
  int64_t rows = kiln__ceil_div(p->rows, KILN_GEMM_MR), cols = kiln__ceil_div(p->cols, KILN_GEMM_NR);
  // The operand with fewer strips is the one in the second cache: each strip of the other passes it once.
  for (int64_t x = 0; x < rows * cols; x++) {
    int64_t i = (rows < cols ? x % rows : x / cols) * KILN_GEMM_MR;
    int64_t j = (rows < cols ? x / rows : x % cols) * KILN_GEMM_NR;
    kiln__gemm_part tile = {p->batch, p->i + i, p->j + j, kiln__min(KILN_GEMM_MR, p->rows - i),
                            kiln__min(KILN_GEMM_NR, p->cols - j)};
    bool direct = plain && tile.rows == KILN_GEMM_MR && tile.cols == KILN_GEMM_NR;
    gemm_plain_end end = direct ? gemm_end_in_c(f, &tile) : in_sums;
    gemm_prefetch(f, &tile);
    gemm_tile((const float *)a + i * k, (const float *)b + j * k, k, &end);
    if (!direct) gemm_finish(f, &tile, sums, KILN_GEMM_NR);
  }
}
