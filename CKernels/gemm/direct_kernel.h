// Products with few rows (generation) or few columns: packing would cost more than it saves, so b streams past once,
// in vectors along k or along n, whichever has stride 1.

#define DIRECT_SUMS 8   // independent sums in flight
#define DIRECT_ROWS 4   // rows that share a load of b
#define DIRECT_RUN 64   // of k at a time in vectors along n, so that b stays in the first cache for the next rows

// One step along k, of n lanes.
VEC void KER(direct_dots_step)(const ELEMENT *a, int64_t a_row, const ELEMENT *b, int64_t b_col, int64_t n, int rows, int cols,
                          vf *sum) {
  vf column[DIRECT_SUMS];
  GEMM_UNROLL
  for (int j = 0; j < cols; j++) column[j] = vf_read(b + j * b_col, n);
  GEMM_UNROLL
  for (int i = 0; i < rows; i++) {
    vf row = vf_read(a + i * a_row, n);
    GEMM_UNROLL
    for (int j = 0; j < cols; j++) sum[i * cols + j] = vf_fma(row, column[j], sum[i * cols + j]);
  }
}

// sums[i][j] += row i of a . column j of b for rows x cols of them, both with stride 1 along k
VEC void KER(direct_dots)(const ELEMENT *a, int64_t a_row, const ELEMENT *b, int64_t b_col, int64_t k, int rows, int cols,
                     float *sums) {
  vf sum[DIRECT_SUMS];
  GEMM_UNROLL
  for (int s = 0; s < rows * cols; s++) sum[s] = vf_set(0);
  int64_t x = 0;
  for (; x + KILN_VL <= k; x += KILN_VL) KER(direct_dots_step)(a + x, a_row, b + x, b_col, KILN_VL, rows, cols, sum);
  if (x < k) KER(direct_dots_step)(a + x, a_row, b + x, b_col, k - x, rows, cols, sum);
  GEMM_UNROLL
  for (int i = 0; i < rows; i++) {
    GEMM_UNROLL
    for (int j = 0; j < cols; j++) sums[i * KILN_GEMM_DIRECT_COLS + j] += vf_sum(sum[i * cols + j]);
  }
}

// The same for rows x (cols vectors) of c, b with stride 1 along n; `n` columns are there.
VEC void KER(direct_columns)(const kiln__matrix *ma, const ELEMENT *a, const kiln__matrix *mb, const ELEMENT *b, int64_t k,
                        int rows, int cols, int64_t n, float *sums) {
  vf sum[DIRECT_SUMS];
  GEMM_UNROLL
  for (int i = 0; i < rows; i++) {
    GEMM_UNROLL
    for (int j = 0; j < cols; j++) {
      sum[i * cols + j] = vf_read(sums + i * KILN_GEMM_DIRECT_COLS + j * KILN_VL, n - j * KILN_VL);
    }
  }
  for (int64_t x = 0; x < k; x++) {
    vf line[DIRECT_SUMS];
    GEMM_UNROLL
    for (int j = 0; j < cols; j++) line[j] = vf_read(b + x * mb->row + j * KILN_VL, n - j * KILN_VL);
    GEMM_UNROLL
    for (int i = 0; i < rows; i++) {
      vf value = vf_set(get(a + i * ma->row + x * ma->col));
      GEMM_UNROLL
      for (int j = 0; j < cols; j++) sum[i * cols + j] = vf_fma(value, line[j], sum[i * cols + j]);
    }
  }
  GEMM_UNROLL
  for (int i = 0; i < rows; i++) {
    GEMM_UNROLL
    for (int j = 0; j < cols; j++) {
      vf_write(sums + i * KILN_GEMM_DIRECT_COLS + j * KILN_VL, sum[i * cols + j], n - j * KILN_VL);
    }
  }
}

// `rows` rows of n columns, k steps of them, from a and b on.
VEC void KER(direct_rows)(const kiln__matrix *ma, const ELEMENT *a, const kiln__matrix *mb, const ELEMENT *b, int64_t n,
                     int64_t k, int rows, float *sums) {
  const int cols = DIRECT_SUMS / rows;
  const int width = cols * KILN_VL < KILN_GEMM_DIRECT_COLS ? cols * KILN_VL : KILN_GEMM_DIRECT_COLS;
  int64_t j = 0;
  if (mb->col == 1) {
    for (; j + width <= n; j += width) {
      KER(direct_columns)(ma, a, mb, b + j, k, rows, width / KILN_VL, width, sums + j);
    }
    for (; j < n; j += KILN_VL) KER(direct_columns)(ma, a, mb, b + j, k, rows, 1, n - j, sums + j);
  } else {
    for (; j + cols <= n; j += cols) {
      KER(direct_dots)(a, ma->row, b + j * mb->col, mb->col, k, rows, cols, sums + j);
    }
    for (; j < n; j++) KER(direct_dots)(a, ma->row, b + j * mb->col, mb->col, k, rows, 1, sums + j);
  }
}

VEC void KER(direct_groups)(const kiln__matrix *ma, const ELEMENT *a, const kiln__matrix *mb, const ELEMENT *b, int64_t m,
                       int64_t n, int64_t k, float *sums) {
  int64_t i = 0;
  for (; i + DIRECT_ROWS <= m; i += DIRECT_ROWS) {
    KER(direct_rows)(ma, a + i * ma->row, mb, b, n, k, DIRECT_ROWS, sums + i * KILN_GEMM_DIRECT_COLS);
  }
  for (; i < m; i++) KER(direct_rows)(ma, a + i * ma->row, mb, b, n, k, 1, sums + i * KILN_GEMM_DIRECT_COLS);
}

// Lines of b that lie a power of two apart fall on each other in the first cache: what several groups of rows will
// read is copied together.
VEC void KER(direct_columns_of_part)(const kiln__gemm_args *g, const kiln__gemm_part *p, const ELEMENT *a, const ELEMENT *b,
                                float *sums) {
  ELEMENT copy[DIRECT_RUN * KILN_GEMM_DIRECT_COLS];
  const kiln__matrix copied = {copy, 0, KILN_GEMM_DIRECT_COLS, 1};
  for (int64_t x = 0; x < g->k; x += DIRECT_RUN, a += DIRECT_RUN * g->a.col, b += DIRECT_RUN * g->b.row) {
    int64_t k = kiln__min(DIRECT_RUN, g->k - x);
    bool again = p->rows > DIRECT_ROWS;
    for (int64_t y = 0; y < k && again; y++) {
      memcpy(copy + y * KILN_GEMM_DIRECT_COLS, b + y * g->b.row, (size_t)p->cols * sizeof(ELEMENT));
    }
    KER(direct_groups)(&g->a, a, again ? &copied : &g->b, again ? copy : b, p->rows, p->cols, k, sums);
  }
}

static void KER(gemm_direct)(const kiln__gemm_args *g, const kiln__gemm_part *p) {
  float sums[KILN_GEMM_DIRECT_ROWS * KILN_GEMM_DIRECT_COLS] = {0};
  const ELEMENT *a = (const ELEMENT *)g->a.data + p->batch * g->a.batch + p->i * g->a.row;
  const ELEMENT *b = (const ELEMENT *)g->b.data + p->batch * g->b.batch + p->j * g->b.col;
  if (g->b.col == 1) KER(direct_columns_of_part)(g, p, a, b, sums);
  else KER(direct_groups)(&g->a, a, &g->b, b, p->rows, p->cols, g->k, sums);
  gemm_finish(&g->finish, p, sums, KILN_GEMM_DIRECT_COLS);
}

static bool KER(gemm_prefers_direct)(const kiln__gemm_args *g) {
  bool dots = g->a.col == 1 && g->b.row == 1, columns = g->b.col == 1;
  if (g->k == 0) return true;
  return g->m <= KILN_GEMM_DIRECT_ROWS ? dots || columns : g->n <= KILN_GEMM_DIRECT_ROWS && dots;
}
