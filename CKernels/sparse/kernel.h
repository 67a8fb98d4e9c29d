// Sparse products over panels in fp32; see sparse/kernels.h. Compiled once: only packing knows other types.

#define SPARSE_VECTORS 8
#define SPARSE_WIDTH (SPARSE_VECTORS * KILN_VL)
#define SPARSE_TILE 2  // vectors, or steps, beside KILN_SPARSE_ROWS rows

// Groups of one row: its whole panel in registers. Compiled once for single elements, whose depth is 1.
VEC void sparse_multiply_row(float *sums, const float *panel, const kiln__sparse_lists *l, int64_t depth, int64_t begin,
                             int64_t end, bool first) {
  vf sum[SPARSE_VECTORS];
  GEMM_UNROLL
  for (int j = 0; j < SPARSE_VECTORS; j++) sum[j] = first ? vf_set(0) : vf_load(sums + j * KILN_VL);
  const int32_t *step = l->steps;
  const float *w = l->values;
  for (int64_t e = begin; e < end; e++) {
    for (int64_t k = 0; k < depth; k++) {
      const float *x = panel + (step[e] + k) * SPARSE_WIDTH;
      vf value = vf_set(w[e * depth + k]);
      GEMM_UNROLL
      for (int j = 0; j < SPARSE_VECTORS; j++) sum[j] = vf_fma(value, vf_load(x + j * KILN_VL), sum[j]);
    }
  }
  GEMM_UNROLL
  for (int j = 0; j < SPARSE_VECTORS; j++) vf_store(sums + j * KILN_VL, sum[j]);
}

// Groups of KILN_SPARSE_ROWS rows: some vectors of the panel at a time.
VEC void sparse_multiply_rows(float *sums, const float *panel, const kiln__sparse_lists *l, int64_t begin, int64_t end,
                              bool first) {
  vf sum[KILN_SPARSE_ROWS][SPARSE_TILE];
  GEMM_UNROLL
  for (int i = 0; i < KILN_SPARSE_ROWS; i++) {
    GEMM_UNROLL
    for (int j = 0; j < SPARSE_TILE; j++) {
      sum[i][j] = first ? vf_set(0) : vf_load(sums + i * SPARSE_WIDTH + j * KILN_VL);
    }
  }
  for (int64_t e = begin; e < end; e++) {
    const float *x = panel + l->steps[e] * (int64_t)SPARSE_WIDTH, *w = l->values + e * l->depth * KILN_SPARSE_ROWS;
    GEMM_UNROLL_STEPS
    for (int64_t k = 0; k < l->depth; k++) {
      vf line[SPARSE_TILE];
      GEMM_UNROLL
      for (int j = 0; j < SPARSE_TILE; j++) line[j] = vf_load(x + k * SPARSE_WIDTH + j * KILN_VL);
      GEMM_UNROLL
      for (int i = 0; i < KILN_SPARSE_ROWS; i++) {
        vf value = vf_set(w[k * KILN_SPARSE_ROWS + i]);
        GEMM_UNROLL
        for (int j = 0; j < SPARSE_TILE; j++) sum[i][j] = vf_fma(value, line[j], sum[i][j]);
      }
    }
  }
  GEMM_UNROLL
  for (int i = 0; i < KILN_SPARSE_ROWS; i++) {
    GEMM_UNROLL
    for (int j = 0; j < SPARSE_TILE; j++) vf_store(sums + i * SPARSE_WIDTH + j * KILN_VL, sum[i][j]);
  }
}

static void sparse_multiply(float *sums, const float *panel, const kiln__sparse_lists *l, const kiln__sparse_part *p) {
  bool first = p->chunk == 0;
  for (int64_t g = p->begin; g < p->end; g++) {
    const int64_t *start = l->starts + p->chunk * l->groups + g;
    if (l->rows == 1 && l->depth == 1) {
      sparse_multiply_row(sums, panel, l, 1, start[0], start[1], first);
    } else if (l->rows == 1) {
      sparse_multiply_row(sums, panel, l, l->depth, start[0], start[1], first);
    } else {
      for (int j = 0; j < SPARSE_WIDTH; j += SPARSE_TILE * KILN_VL) {
        sparse_multiply_rows(sums + j, panel + j, l, start[0], start[1], first);
      }
    }
    sums += l->rows * SPARSE_WIDTH;
  }
}

#if KILN_VL > 1
// Four lanes, each the sum of those that lie a multiple of four apart.
VEC v4 sparse_halve(vf x) {
  v4 part[KILN_VL / 4];
  memcpy(part, &x, sizeof x);
#if KILN_VL == 16
  return (part[0] + part[1]) + (part[2] + part[3]);
#elif KILN_VL == 8
  return part[0] + part[1];
#else
  return part[0];
#endif
}
#endif

// The sums of the lanes of four vectors.
VEC v4 sparse_fold(vf a, vf b, vf c, vf d) {
#if KILN_VL == 1
  return (v4){a[0], b[0], c[0], d[0]};
#else
  v4 p = sparse_halve(a), q = sparse_halve(b), r = sparse_halve(c), s = sparse_halve(d);
  v4 low = __builtin_shufflevector(p, q, 0, 4, 2, 6) + __builtin_shufflevector(p, q, 1, 5, 3, 7);
  v4 high = __builtin_shufflevector(r, s, 0, 4, 2, 6) + __builtin_shufflevector(r, s, 1, 5, 3, 7);
  return __builtin_shufflevector(low, high, 0, 1, 4, 5) + __builtin_shufflevector(low, high, 2, 3, 6, 7);
#endif
}

// Four lines of x's panels with one row of dy's.
VEC v4 sparse_dot_lines(const kiln__sparse_panels *x, const kiln__sparse_panels *dy, const int64_t line[4],
                        int64_t row) {
  vf sum[4] = {0};
  for (int64_t p = 0; p < dy->count; p++) {
    const float *of_x = x->data + p * x->stride, *of_y = dy->data + p * dy->stride + row;
    GEMM_UNROLL
    for (int j = 0; j < SPARSE_VECTORS; j++) {
      vf y = vf_load(of_y + j * KILN_VL);
      GEMM_UNROLL
      for (int i = 0; i < 4; i++) sum[i] = vf_fma(y, vf_load(of_x + line[i] + j * KILN_VL), sum[i]);
    }
  }
  return sparse_fold(sum[0], sum[1], sum[2], sum[3]);
}

// A group of one row: its steps four at a time, whatever entries they are of.
VEC void sparse_gradient_row(float *gradients, const kiln__sparse_panels *x, const kiln__sparse_panels *dy,
                             const kiln__sparse_lists *l, int64_t row, int64_t begin, int64_t end) {
  float *to = gradients + begin * l->depth;
  int64_t line[4];
  int waiting = 0;
  for (int64_t e = begin; e < end; e++) {
    for (int64_t k = 0; k < l->depth; k++) {
      line[waiting++] = (l->steps[e] + k) * SPARSE_WIDTH;
      if (waiting < 4) continue;
      v4_store(to, v4_load(to) + sparse_dot_lines(x, dy, line, row));
      to += 4;
      waiting = 0;
    }
  }
  if (waiting == 0) return;
  for (int i = waiting; i < 4; i++) line[i] = line[0];
  v4 sums = sparse_dot_lines(x, dy, line, row);
  for (int i = 0; i < waiting; i++) to[i] += sums[i];
}

// A group of KILN_SPARSE_ROWS rows: SPARSE_TILE steps at a time, or what is left.
VEC void sparse_gradient_steps(float *to, const kiln__sparse_panels *x, const kiln__sparse_panels *dy, int64_t line,
                               int64_t row, int steps) {
  vf sum[SPARSE_TILE][KILN_SPARSE_ROWS] = {0};
  for (int64_t p = 0; p < dy->count; p++) {
    const float *of_x = x->data + p * x->stride + line, *of_y = dy->data + p * dy->stride + row;
    GEMM_UNROLL
    for (int j = 0; j < SPARSE_VECTORS; j++) {
      vf a[SPARSE_TILE];
      for (int k = 0; k < steps; k++) a[k] = vf_load(of_x + k * SPARSE_WIDTH + j * KILN_VL);
      GEMM_UNROLL
      for (int i = 0; i < KILN_SPARSE_ROWS; i++) {
        vf b = vf_load(of_y + i * SPARSE_WIDTH + j * KILN_VL);
        for (int k = 0; k < steps; k++) sum[k][i] = vf_fma(b, a[k], sum[k][i]);
      }
    }
  }
  for (int k = 0; k < steps; k++) {
    v4_store(to + 4 * k, v4_load(to + 4 * k) + sparse_fold(sum[k][0], sum[k][1], sum[k][2], sum[k][3]));
  }
}

VEC void sparse_gradient_rows(float *gradients, const kiln__sparse_panels *x, const kiln__sparse_panels *dy,
                              const kiln__sparse_lists *l, int64_t row, int64_t begin, int64_t end) {
  for (int64_t e = begin; e < end; e++) {
    float *to = gradients + e * l->depth * KILN_SPARSE_ROWS;
    int64_t line = l->steps[e] * (int64_t)SPARSE_WIDTH, k = 0;
    for (; k + SPARSE_TILE <= l->depth; k += SPARSE_TILE) {
      sparse_gradient_steps(to + k * KILN_SPARSE_ROWS, x, dy, line + k * SPARSE_WIDTH, row, SPARSE_TILE);
    }
    for (; k < l->depth; k++) {
      sparse_gradient_steps(to + k * KILN_SPARSE_ROWS, x, dy, line + k * SPARSE_WIDTH, row, 1);
    }
  }
}

static void sparse_gradient(float *gradients, const kiln__sparse_panels *x, const kiln__sparse_panels *dy,
                            const kiln__sparse_lists *l, const kiln__sparse_part *p) {
  for (int64_t g = p->begin; g < p->end; g++) {
    const int64_t *start = l->starts + p->chunk * l->groups + g;
    int64_t row = g * l->rows * SPARSE_WIDTH;
    if (l->rows == 1) sparse_gradient_row(gradients, x, dy, l, row, start[0], start[1]);
    else sparse_gradient_rows(gradients, x, dy, l, row, start[0], start[1]);
  }
}

// to [width][cols] from sums [cols][width], by squares of 4 x 4.
VEC void sparse_turn(float *to, const float *sums, int64_t cols) {
  int64_t j = 0;
  for (; j + 4 <= cols; j += 4) {
    for (int i = 0; i + 4 <= SPARSE_WIDTH; i += 4) {
      const float *from = sums + j * SPARSE_WIDTH + i;
      v4_store_transposed(to + i * cols + j, cols, v4_load(from), v4_load(from + SPARSE_WIDTH),
                          v4_load(from + 2 * SPARSE_WIDTH), v4_load(from + 3 * SPARSE_WIDTH));
    }
  }
  for (; j < cols; j++) {
    for (int i = 0; i < SPARSE_WIDTH; i++) to[i * cols + j] = sums[j * SPARSE_WIDTH + i];
  }
}

static void sparse_finish(const kiln__gemm_finish *f, const kiln__gemm_part *c, const float *sums, float *turned) {
  sparse_turn(turned, sums, c->cols);
  gemm_finish(f, c, turned, c->cols);
}
