// A part of c: all its tiles. And the sums over k of packed rows of a and columns of b.

// sums [nr] = one strip of b, summed over k.
static void gemm_sum_strip_of_b(const float *b, int64_t units, float *sums) {
  for (int j = 0; j < KILN_GEMM_NR; j += KILN_VL) {
    vf sum = vf_set(0);
    for (int64_t x = 0; x < units; x++) sum = GEMM_ADD(vf_load(b + x * KILN_GEMM_NR + j), sum);
    vf_store(sums + j, sum);
  }
}

VEC void gemm_sum_strips(void (*sum_strip)(const float *, int64_t, float *), int width, float *sums,
                         const float *strips, int64_t extent, int64_t k, float alpha, bool accumulate) {
  float strip[KILN_GEMM_MR + KILN_GEMM_NR];
  int64_t units = kiln__round_up(k, GEMM_STEPS) / GEMM_UNIT;
  for (int64_t i = 0; i < extent; i++) {
    if (i % width == 0) sum_strip(strips + i * units, units, strip);
    sums[i] = alpha * strip[i % width] + (accumulate ? sums[i] : 0);
  }
}

static void gemm_sum_a(float *sums, const void *strips, int64_t extent, int64_t k, float alpha, bool accumulate) {
  gemm_sum_strips(gemm_sum_strip_of_a, KILN_GEMM_MR, sums, strips, extent, k, alpha, accumulate);
}

static void gemm_sum_b(float *sums, const void *strips, int64_t extent, int64_t k, float alpha, bool accumulate) {
  gemm_sum_strips(gemm_sum_strip_of_b, KILN_GEMM_NR, sums, strips, extent, k, alpha, accumulate);
}

VEC void gemm_prefetch_rows(const kiln__matrix *x, const kiln__gemm_part *tile, int64_t item) {
  for (int64_t row = 0; row < tile->rows && x->data; row++) {
    __builtin_prefetch((const char *)x->data + gemm_at(x, tile, row) * item, 1, 3);
  }
}

// Fetches, while the sums of a tile run, what its end will need.
VEC void gemm_prefetch(const kiln__gemm_finish *f, const kiln__gemm_part *tile) {
  int64_t item = f->dtype == KILN_F32 ? sizeof(float) : sizeof(kiln__bf16);
  gemm_prefetch_rows(&f->c, tile, item);
  gemm_prefetch_rows(&f->carry, tile, sizeof(float));
  gemm_prefetch_rows(&f->preactivation, tile, item);
  gemm_prefetch_rows(&f->gradient_at, tile, item);
  gemm_prefetch_rows(&f->residual, tile, item);
}

static void gemm_packed(const kiln__gemm_finish *f, const kiln__gemm_part *p, const void *a, const void *b, int64_t k) {
  _Alignas(KILN_ALIGNMENT) float sums[KILN_GEMM_MR * KILN_GEMM_NR];
  const gemm_plain_end in_sums = {.c = sums, .ldc = KILN_GEMM_NR, .alpha = 1};
  bool plain = gemm_is_plain(f);
  int64_t units = kiln__round_up(k, GEMM_STEPS) / GEMM_UNIT;
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
    gemm_tile((const float *)a + i * units, (const float *)b + j * units, units, &end);
    if (!direct) gemm_finish(f, &tile, sums, KILN_GEMM_NR);
  }
}
