// The end of a tile: from its sums to c, while it is in the first cache.

enum { KILN_GEMM_NR = KILN_GEMM_NV * KILN_VL };

// Before a loop over registers: sums can only stay in them where all indices are constants.
#define GEMM_UNROLL _Pragma("clang loop unroll(full)")

VEC int64_t gemm_at(const kiln__matrix *x, const kiln__gemm_part *p, int64_t row) {
  return p->batch * x->batch + (p->i + row) * x->row + p->j;
}

// n elements or fewer of c, preactivation, gradient_at or residual.
VEC vf gemm_read(kiln_dtype dtype, const kiln__matrix *x, int64_t at, int64_t n) {
  if (dtype == KILN_BF16) return vf_read((const kiln__bf16 *)x->data + at, n);
  if (dtype == KILN_F16) return vf_read((const kiln__f16 *)x->data + at, n);
  return vf_read((const float *)x->data + at, n);
}

VEC void gemm_write(kiln_dtype dtype, const kiln__matrix *x, int64_t at, vf v, int64_t n) {
  if (dtype == KILN_BF16) vf_write((kiln__bf16 *)x->data + at, v, n);
  else if (dtype == KILN_F16) vf_write((kiln__f16 *)x->data + at, v, n);
  else vf_write((float *)x->data + at, v, n);
}

VEC void gemm_finish_row(kiln_dtype dtype, kiln_activation kind, const kiln__gemm_finish *f, const kiln__gemm_part *p,
                         int64_t row, const float *sums) {
  const float *bias = f->bias ? (const float *)f->bias + p->j : NULL;
  int64_t carry = gemm_at(&f->carry, p, row), preactivation = gemm_at(&f->preactivation, p, row);
  int64_t gradient_at = gemm_at(&f->gradient_at, p, row), residual = gemm_at(&f->residual, p, row);
  int64_t c = gemm_at(&f->c, p, row);
  float factor = f->row_scale ? f->alpha * f->row_scale[p->i + row] : f->alpha;
  for (int64_t j = 0; j < p->cols; j += KILN_VL) {
    int64_t n = p->cols - j;
    vf v = vf_read(sums + j, n);
    if (f->carry.data) v = v + vf_read((const float *)f->carry.data + carry + j, n);
    v = factor * v;
    if (f->col_scale) v = v * vf_read(f->col_scale + p->j + j, n);
    if (bias) v = v + vf_read(bias + j, n);
    if (f->preactivation.data) gemm_write(dtype, &f->preactivation, preactivation + j, v, n);
    if (f->gradient_at.data) v = v * act_slope(kind, gemm_read(dtype, &f->gradient_at, gradient_at + j, n));
    else v = act_value(kind, v);
    if (f->residual.data) v = v + gemm_read(dtype, &f->residual, residual + j, n);
    if (f->accumulate) v = v + gemm_read(dtype, &f->c, c + j, n);
    gemm_write(dtype, &f->c, c + j, v, n);
  }
}

VEC void gemm_finish_rows(kiln_dtype dtype, kiln_activation kind, const kiln__gemm_finish *f, const kiln__gemm_part *p,
                          const float *sums, int64_t ld) {
  for (int64_t row = 0; row < p->rows; row++) gemm_finish_row(dtype, kind, f, p, row, sums + row * ld);
}

// Compiled once for each kind and type, so that the loops have no switch.
VEC void gemm_finish_kind(kiln_activation kind, const kiln__gemm_finish *f, const kiln__gemm_part *p, const float *sums,
                          int64_t ld) {
  switch (f->dtype) {
    case KILN_BF16: gemm_finish_rows(KILN_BF16, kind, f, p, sums, ld); break;
    case KILN_F16: gemm_finish_rows(KILN_F16, kind, f, p, sums, ld); break;
    default: gemm_finish_rows(KILN_F32, kind, f, p, sums, ld);
  }
}

// sums [p->rows, p->cols], ld from row to row
static void gemm_finish(const kiln__gemm_finish *f, const kiln__gemm_part *p, const float *sums, int64_t ld) {
  switch (f->activation) {
    case KILN_ACT_NONE: gemm_finish_kind(KILN_ACT_NONE, f, p, sums, ld); break;
    case KILN_ACT_RELU: gemm_finish_kind(KILN_ACT_RELU, f, p, sums, ld); break;
    case KILN_ACT_GELU_TANH: gemm_finish_kind(KILN_ACT_GELU_TANH, f, p, sums, ld); break;
    case KILN_ACT_GELU_ERF: gemm_finish_kind(KILN_ACT_GELU_ERF, f, p, sums, ld); break;
    case KILN_ACT_SILU: gemm_finish_kind(KILN_ACT_SILU, f, p, sums, ld); break;
  }
}

// Whether sums, carry and c in fp32 are all that there is.
VEC bool gemm_is_plain(const kiln__gemm_finish *f) {
  return f->dtype == KILN_F32 && !f->row_scale && !f->col_scale && !f->bias && !f->preactivation.data &&
         !f->activation && !f->residual.data;
}

// The plain end of a whole tile: c = alpha * (sums + carry), or c += that.
typedef struct gemm_plain_end {
  float *c;
  const float *carry;
  int64_t ldc, ldcarry;
  float alpha;
  bool accumulate;
} gemm_plain_end;

VEC gemm_plain_end gemm_end_in_c(const kiln__gemm_finish *f, const kiln__gemm_part *tile) {
  const float *carry = f->carry.data ? (const float *)f->carry.data + gemm_at(&f->carry, tile, 0) : NULL;
  return (gemm_plain_end){(float *)f->c.data + gemm_at(&f->c, tile, 0), carry, f->c.row, f->carry.row, f->alpha,
                          f->accumulate};
}

// One vector of sums, in row i and from column j of the tile on.
VEC void gemm_end_vector(const gemm_plain_end *end, int i, int j, vf v) {
  float *c = end->c + i * end->ldc + j;
  if (end->carry) v = v + vf_load(end->carry + i * end->ldcarry + j);
  v = end->alpha * v;
  vf_store(c, end->accumulate ? v + vf_load(c) : v);
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
