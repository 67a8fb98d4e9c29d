// Products with few rows (generation) or few columns: packing would cost more than it saves, so b streams past once,
// in vectors along k or along n, whichever has stride 1.

enum { DIRECT_SUMS = 8, DIRECT_ROWS = 4 };  // independent sums in flight; rows that share a load of b

// One step along k, of n lanes.
VEC void direct_dots_step(const float *a, int64_t a_row, const float *b, int64_t b_col, int64_t n, int rows, int cols,
                          vf *sum) {
  vf column[DIRECT_SUMS];
  for (int j = 0; j < cols; j++) column[j] = vf_read(b + j * b_col, n);
  for (int i = 0; i < rows; i++) {
    vf row = vf_read(a + i * a_row, n);
    for (int j = 0; j < cols; j++) sum[i * cols + j] = vf_fma(row, column[j], sum[i * cols + j]);
  }
}

// sums[i][j] = row i of a . column j of b for rows x cols of them, both with stride 1 along k
VEC void direct_dots(const float *a, int64_t a_row, const float *b, int64_t b_col, int64_t k, int rows, int cols,
                     float *sums) {
  vf sum[DIRECT_SUMS];
  for (int s = 0; s < rows * cols; s++) sum[s] = vf_set(0);
  int64_t x = 0;
  for (; x + KILN_VL <= k; x += KILN_VL) direct_dots_step(a + x, a_row, b + x, b_col, KILN_VL, rows, cols, sum);
  if (x < k) direct_dots_step(a + x, a_row, b + x, b_col, k - x, rows, cols, sum);
  for (int i = 0; i < rows; i++) {
    for (int j = 0; j < cols; j++) sums[i * KILN_GEMM_DIRECT_COLS + j] = vf_sum(sum[i * cols + j]);
  }
}

// The same for rows x (cols vectors) of c, b with stride 1 along n; `n` columns are there.
VEC void direct_columns(const kiln__matrix *ma, const float *a, const kiln__matrix *mb, const float *b, int64_t k,
                        int rows, int cols, int64_t n, float *sums) {
  vf sum[DIRECT_SUMS];
  for (int s = 0; s < rows * cols; s++) sum[s] = vf_set(0);
  for (int64_t x = 0; x < k; x++) {
    vf line[DIRECT_SUMS];
    for (int j = 0; j < cols; j++) line[j] = vf_read(b + x * mb->row + j * KILN_VL, n - j * KILN_VL);
    for (int i = 0; i < rows; i++) {
      vf value = vf_set(a[i * ma->row + x * ma->col]);
      for (int j = 0; j < cols; j++) sum[i * cols + j] = vf_fma(value, line[j], sum[i * cols + j]);
    }
  }
  for (int i = 0; i < rows; i++) {
    for (int j = 0; j < cols; j++) {
      vf_write(sums + i * KILN_GEMM_DIRECT_COLS + j * KILN_VL, sum[i * cols + j], n - j * KILN_VL);
    }
  }
}

// One group of `rows` rows of a part.
VEC void direct_rows(const kiln__gemm_args *g, const kiln__gemm_part *p, const float *a, const float *b, int rows,
                     float *sums) {
  const int cols = DIRECT_SUMS / rows;
  int64_t j = 0;
  if (g->b.col == 1) {
    for (; j + cols * KILN_VL <= p->cols; j += cols * KILN_VL) {
      direct_columns(&g->a, a, &g->b, b + j, g->k, rows, cols, cols * KILN_VL, sums + j);
    }
    for (; j < p->cols; j += KILN_VL) direct_columns(&g->a, a, &g->b, b + j, g->k, rows, 1, p->cols - j, sums + j);
  } else {
    for (; j + cols <= p->cols; j += cols) {
      direct_dots(a, g->a.row, b + j * g->b.col, g->b.col, g->k, rows, cols, sums + j);
    }
    for (; j < p->cols; j++) direct_dots(a, g->a.row, b + j * g->b.col, g->b.col, g->k, rows, 1, sums + j);
  }
}

static void gemm_direct(const kiln__gemm_args *g, const kiln__gemm_part *p) {
  float sums[KILN_GEMM_DIRECT_ROWS * KILN_GEMM_DIRECT_COLS];
  const float *a = (const float *)g->a.data + p->batch * g->a.batch + p->i * g->a.row;
  const float *b = (const float *)g->b.data + p->batch * g->b.batch + p->j * g->b.col;
  int64_t i = 0;
  for (; i + DIRECT_ROWS <= p->rows; i += DIRECT_ROWS) {
    direct_rows(g, p, a + i * g->a.row, b, DIRECT_ROWS, sums + i * KILN_GEMM_DIRECT_COLS);
  }
  for (; i < p->rows; i++) direct_rows(g, p, a + i * g->a.row, b, 1, sums + i * KILN_GEMM_DIRECT_COLS);
  gemm_finish(&g->finish, p, sums, KILN_GEMM_DIRECT_COLS);
}

static bool gemm_prefers_direct(const kiln__gemm_args *g) {
  bool dots = g->a.col == 1 && g->b.row == 1, columns = g->b.col == 1;
  if (g->k == 0) return true;
  return g->m <= KILN_GEMM_DIRECT_ROWS ? dots || columns : g->n <= KILN_GEMM_DIRECT_ROWS && dots;
}
