// Matrix products in vectors: the tile kept in registers, and the parts of c made of tiles. Packed elements are fp32
// whatever a and b are stored in.

enum { KILN_GEMM_NR = KILN_GEMM_NV * KILN_VL };

// Before a loop over registers: sums can only stay in them where all indices are constants.
#define GEMM_UNROLL _Pragma("clang loop unroll(full)")

#include "gemm/finish_kernel.h"

// sums [mr, nr] = one strip of a times one strip of b
VEC void gemm_tile(const float *a, const float *b, int64_t k, float *sums) {
  vf sum[KILN_GEMM_MR][KILN_GEMM_NV];
  GEMM_UNROLL
  for (int i = 0; i < KILN_GEMM_MR; i++) {
    GEMM_UNROLL
    for (int j = 0; j < KILN_GEMM_NV; j++) sum[i][j] = vf_set(0);
  }
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
    for (int j = 0; j < KILN_GEMM_NV; j++) vf_store(sums + i * KILN_GEMM_NR + j * KILN_VL, sum[i][j]);
  }
}

VEC void gemm_prefetch_rows(const kiln__matrix *x, const kiln__gemm_part *tile, int64_t item) {
  for (int64_t row = 0; row < tile->rows && x->data; row++) {
    __builtin_prefetch((const char *)x->data + gemm_at(x, tile, row) * item, 1, 3);
  }
}

// Fetches, while the sums of a tile run, what its end will need and `floats` of the next strip of b.
VEC void gemm_prefetch(const kiln__gemm_finish *f, const kiln__gemm_part *tile, const float *b, int64_t floats) {
  const int64_t line = 64 / sizeof(float), item = f->narrow ? sizeof(kiln__bf16) : sizeof(float);
  for (int64_t x = 0; x < floats; x += line) __builtin_prefetch(b + x, 0, 2);
  gemm_prefetch_rows(&f->c, tile, item);
  gemm_prefetch_rows(&f->preactivation, tile, item);
  gemm_prefetch_rows(&f->residual, tile, item);
}

static void gemm_packed(const kiln__gemm_finish *f, const kiln__gemm_part *p, const void *a, int64_t a_strip,
                        const void *b_, int64_t b_strip, int64_t k) {
  const float *b = b_;
  float sums[KILN_GEMM_MR * KILN_GEMM_NR];
  bool plain = gemm_is_plain(f);
  int64_t ahead = kiln__ceil_div(k * KILN_GEMM_NR, kiln__ceil_div(p->rows, KILN_GEMM_MR));
  for (int64_t j = 0; j < p->cols; j += KILN_GEMM_NR, b += b_strip) {
    const float *strip = a, *next = b + b_strip;
    for (int64_t i = 0; i < p->rows; i += KILN_GEMM_MR, strip += a_strip, next += ahead) {
      kiln__gemm_part tile = {p->batch, p->i + i, p->j + j, kiln__min(KILN_GEMM_MR, p->rows - i),
                              kiln__min(KILN_GEMM_NR, p->cols - j)};
      gemm_prefetch(f, &tile, next, ahead);
      gemm_tile(strip, b, k, sums);
      if (plain && tile.rows == KILN_GEMM_MR && tile.cols == KILN_GEMM_NR) gemm_finish_plain(f, &tile, sums);
      else gemm_finish(f, &tile, sums, KILN_GEMM_NR);
    }
  }
}
