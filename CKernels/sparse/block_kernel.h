// Sparse products with lists of KILN_SPARSE_WIDE rows; see sparse/kernels.h. Vectors run along these rows, so that x
// and c stay by rows as they are: a tile of sums as that of a dense product, whose strip of b has gaps.

#define BLOCK_VECTORS (KILN_SPARSE_WIDE / KILN_VL)
// Sums that stay in registers, beside the vectors of a line and a number.
#define BLOCK_TILE (KILN_VL == 1 ? 1 : KILN_VL == 16 ? 12 : 6)

// One tile: c's part is whole in rows of x, of which those that c lacks are there too.
static void sparse_multiply_tile(const kiln__gemm_finish *f, const kiln__gemm_part *c, const float *x, int64_t ld,
                                 const kiln__sparse_lists *l, int64_t begin, int64_t end) {
  vf sum[BLOCK_TILE][BLOCK_VECTORS] = {0};
  for (int64_t e = begin; e < end; e++) {
    const float *line = x + l->steps[e], *w = l->values + e * l->depth * KILN_SPARSE_WIDE;
    GEMM_UNROLL_STEPS
    for (int64_t k = 0; k < l->depth; k++) {
      vf b[BLOCK_VECTORS];
      GEMM_UNROLL
      for (int j = 0; j < BLOCK_VECTORS; j++) b[j] = vf_load(w + k * KILN_SPARSE_WIDE + j * KILN_VL);
      GEMM_UNROLL
      for (int i = 0; i < BLOCK_TILE; i++) {
        vf value = vf_set(line[i * ld + k]);
        GEMM_UNROLL
        for (int j = 0; j < BLOCK_VECTORS; j++) sum[i][j] = vf_fma(value, b[j], sum[i][j]);
      }
    }
  }
  if (c->rows == BLOCK_TILE && c->cols == KILN_SPARSE_WIDE && gemm_is_plain(f)) {
    gemm_plain_end plain = gemm_end_in_c(f, c);
    GEMM_UNROLL
    for (int i = 0; i < BLOCK_TILE; i++) {
      GEMM_UNROLL
      for (int j = 0; j < BLOCK_VECTORS; j++) gemm_end_vector(&plain, i, j * KILN_VL, sum[i][j]);
    }
    return;
  }
  float sums[BLOCK_TILE * KILN_SPARSE_WIDE];
  GEMM_UNROLL
  for (int i = 0; i < BLOCK_TILE; i++) {
    GEMM_UNROLL
    for (int j = 0; j < BLOCK_VECTORS; j++) vf_store(sums + i * KILN_SPARSE_WIDE + j * KILN_VL, sum[i][j]);
  }
  gemm_finish(f, c, sums, KILN_SPARSE_WIDE);
}

static void sparse_multiply_blocks(const kiln__gemm_finish *f, const kiln__gemm_part *c, const float *x, int64_t ld,
                                   const kiln__sparse_lists *l, int64_t group) {
  for (int64_t row = 0; row < c->rows; row += BLOCK_TILE) {
    kiln__gemm_part tile = {0, c->i + row, c->j, kiln__min(BLOCK_TILE, c->rows - row), c->cols};
    sparse_multiply_tile(f, &tile, x + row * ld, ld, l, l->starts[group], l->starts[group + 1]);
  }
}

// `steps` steps of a block, at most 6, with all of its rows.
VEC void sparse_gradient_tile(float *gradients, const float *x, const float *dy, int64_t rows, int64_t depth,
                              int steps) {
  vf sum[6][BLOCK_VECTORS];
  for (int k = 0; k < steps; k++) {
    GEMM_UNROLL
    for (int j = 0; j < BLOCK_VECTORS; j++) sum[k][j] = vf_load(gradients + k * KILN_SPARSE_WIDE + j * KILN_VL);
  }
  GEMM_UNROLL_STEPS
  for (int64_t m = 0; m < rows; m++) {
    vf line[BLOCK_VECTORS];
    GEMM_UNROLL
    for (int j = 0; j < BLOCK_VECTORS; j++) line[j] = vf_load(dy + m * KILN_SPARSE_WIDE + j * KILN_VL);
    for (int k = 0; k < steps; k++) {
      vf value = vf_set(x[m * depth + k]);
      GEMM_UNROLL
      for (int j = 0; j < BLOCK_VECTORS; j++) sum[k][j] = vf_fma(value, line[j], sum[k][j]);
    }
  }
  for (int k = 0; k < steps; k++) {
    GEMM_UNROLL
    for (int j = 0; j < BLOCK_VECTORS; j++) vf_store(gradients + k * KILN_SPARSE_WIDE + j * KILN_VL, sum[k][j]);
  }
}

// Steps in parts of nearly the same size.
static void sparse_gradient_blocks(float *gradients, const float *x, const float *dy, int64_t rows, int64_t depth) {
  int64_t parts = kiln__ceil_div(depth, 6);
  for (int64_t part = 0, k = 0; part < parts; part++) {
    int64_t steps = (depth - k + parts - part - 1) / (parts - part);
    float *to = gradients + k * KILN_SPARSE_WIDE;
    switch (steps) {
      case 6: sparse_gradient_tile(to, x + k, dy, rows, depth, 6); break;
      case 5: sparse_gradient_tile(to, x + k, dy, rows, depth, 5); break;
      case 4: sparse_gradient_tile(to, x + k, dy, rows, depth, 4); break;
      case 3: sparse_gradient_tile(to, x + k, dy, rows, depth, 3); break;
      case 2: sparse_gradient_tile(to, x + k, dy, rows, depth, 2); break;
      default: sparse_gradient_tile(to, x + k, dy, rows, depth, 1);
    }
    k += steps;
  }
}
