// A part of c: all its tiles.

static void GEMM(gemm_packed)(const kiln__gemm_finish *f, const kiln__gemm_part *p, const void *a, const void *b,
                              int64_t k) {
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
    int64_t row = units + GEMM_TAIL;
    GEMM(gemm_tile)((const float *)a + i * row, (const float *)b + j * row, units, &end);
    if (!direct) gemm_finish(f, &tile, sums, KILN_GEMM_NR);
  }
}
