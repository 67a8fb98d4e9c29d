// The end of a tile: from its sums to c, while it is in the first cache.

VEC int64_t gemm_at(const kiln__matrix *x, const kiln__gemm_part *p, int64_t row) {
  return p->batch * x->batch + (p->i + row) * x->row + p->j;
}

// n elements or fewer of c, preactivation or residual.
VEC vf gemm_read(bool narrow, const kiln__matrix *x, int64_t at, int64_t n) {
  return narrow ? vf_read((const kiln__bf16 *)x->data + at, n) : vf_read((const float *)x->data + at, n);
}

VEC void gemm_write(bool narrow, const kiln__matrix *x, int64_t at, vf v, int64_t n) {
  if (narrow) vf_write((kiln__bf16 *)x->data + at, v, n);
  else vf_write((float *)x->data + at, v, n);
}

// sums = alpha * (sums + carry) + bias, which is also the preactivation
VEC void gemm_begin_row(bool narrow, const kiln__gemm_finish *f, const kiln__gemm_part *p, int64_t row, float *sums) {
  const float *bias = f->bias ? (const float *)f->bias + p->j : NULL;
  int64_t carry = gemm_at(&f->carry, p, row), preactivation = gemm_at(&f->preactivation, p, row);
  for (int64_t j = 0; j < p->cols; j += KILN_VL) {
    int64_t n = p->cols - j;
    vf v = vf_read(sums + j, n);
    if (f->carry.data) v = v + vf_read((const float *)f->carry.data + carry + j, n);
    v = f->alpha * v;
    if (bias) v = v + vf_read(bias + j, n);
    if (f->preactivation.data) gemm_write(narrow, &f->preactivation, preactivation + j, v, n);
    vf_write(sums + j, v, n);
  }
}

VEC void gemm_activate_kind(kiln_activation kind, const kiln__gemm_part *p, float *sums, int64_t ld) {
  for (int64_t row = 0; row < p->rows; row++, sums += ld) {
    for (int64_t j = 0; j < p->cols; j += KILN_VL) {
      vf_write(sums + j, act_value(kind, vf_read(sums + j, p->cols - j)), p->cols - j);
    }
  }
}

// Compiled once for each kind, so that the loops have no switch.
VEC void gemm_activate(kiln_activation kind, const kiln__gemm_part *p, float *sums, int64_t ld) {
  switch (kind) {
    case KILN_ACT_NONE: break;
    case KILN_ACT_RELU: gemm_activate_kind(KILN_ACT_RELU, p, sums, ld); break;
    case KILN_ACT_GELU_TANH: gemm_activate_kind(KILN_ACT_GELU_TANH, p, sums, ld); break;
    case KILN_ACT_GELU_ERF: gemm_activate_kind(KILN_ACT_GELU_ERF, p, sums, ld); break;
    case KILN_ACT_SILU: gemm_activate_kind(KILN_ACT_SILU, p, sums, ld); break;
  }
}

// c = sums + residual, or c += that
VEC void gemm_end_row(bool narrow, const kiln__gemm_finish *f, const kiln__gemm_part *p, int64_t row,
                      const float *sums) {
  int64_t residual = gemm_at(&f->residual, p, row), c = gemm_at(&f->c, p, row);
  for (int64_t j = 0; j < p->cols; j += KILN_VL) {
    int64_t n = p->cols - j;
    vf v = vf_read(sums + j, n);
    if (f->residual.data) v = v + gemm_read(narrow, &f->residual, residual + j, n);
    if (f->accumulate) v = v + gemm_read(narrow, &f->c, c + j, n);
    gemm_write(narrow, &f->c, c + j, v, n);
  }
}

VEC void gemm_finish_as(bool narrow, const kiln__gemm_finish *f, const kiln__gemm_part *p, float *sums, int64_t ld) {
  for (int64_t row = 0; row < p->rows; row++) gemm_begin_row(narrow, f, p, row, sums + row * ld);
  gemm_activate(f->activation, p, sums, ld);
  for (int64_t row = 0; row < p->rows; row++) gemm_end_row(narrow, f, p, row, sums + row * ld);
}

// sums [p->rows, p->cols], ld from row to row; they are lost
static void gemm_finish(const kiln__gemm_finish *f, const kiln__gemm_part *p, float *sums, int64_t ld) {
  if (f->narrow) gemm_finish_as(true, f, p, sums, ld);
  else gemm_finish_as(false, f, p, sums, ld);
}

// Whether c = alpha * sums or c += alpha * sums is all there is to do.
VEC bool gemm_is_plain(const kiln__gemm_finish *f) {
  return !f->narrow && !f->carry.data && !f->bias && !f->preactivation.data && !f->activation && !f->residual.data;
}

// The plain end of a whole tile.
VEC void gemm_finish_plain(const kiln__gemm_finish *f, const kiln__gemm_part *p, const float *sums) {
  float *c = (float *)f->c.data + gemm_at(&f->c, p, 0);
  for (int i = 0; i < KILN_GEMM_MR; i++, c += f->c.row, sums += KILN_GEMM_NR) {
    for (int j = 0; j < KILN_GEMM_NR; j += KILN_VL) {
      vf v = f->alpha * vf_load(sums + j);
      vf_store(c + j, f->accumulate ? v + vf_load(c + j) : v);
    }
  }
}
