// The end of a tile: from its sums to c, while it is in the first cache.

VEC float *gemm_at(const kiln__matrix *x, const kiln__gemm_part *p, int64_t row) {
  return x->data ? (float *)x->data + p->batch * x->batch + (p->i + row) * x->row + p->j : NULL;
}

// sums = alpha * sums + carry + bias, which is also the preactivation
VEC void gemm_begin_row(const kiln__gemm_finish *f, const kiln__gemm_part *p, int64_t row, float *sums) {
  const float *carry = gemm_at(&f->carry, p, row), *bias = f->bias ? (const float *)f->bias + p->j : NULL;
  float *preactivation = gemm_at(&f->preactivation, p, row);
  for (int64_t j = 0; j < p->cols; j += KILN_VL) {
    int64_t n = p->cols - j;
    vf v = f->alpha * vf_read(sums + j, n);
    if (carry) v = v + vf_read(carry + j, n);
    if (bias) v = v + vf_read(bias + j, n);
    if (preactivation) vf_write(preactivation + j, v, n);
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
VEC void gemm_end_row(const kiln__gemm_finish *f, const kiln__gemm_part *p, int64_t row, const float *sums) {
  const float *residual = gemm_at(&f->residual, p, row);
  float *c = gemm_at(&f->c, p, row);
  for (int64_t j = 0; j < p->cols; j += KILN_VL) {
    int64_t n = p->cols - j;
    vf v = vf_read(sums + j, n);
    if (residual) v = v + vf_read(residual + j, n);
    if (f->accumulate) v = v + vf_read(c + j, n);
    vf_write(c + j, v, n);
  }
}

// sums [p->rows, p->cols], ld from row to row; they are lost
static void gemm_finish(const kiln__gemm_finish *f, const kiln__gemm_part *p, float *sums, int64_t ld) {
  for (int64_t row = 0; row < p->rows; row++) gemm_begin_row(f, p, row, sums + row * ld);
  gemm_activate(f->activation, p, sums, ld);
  for (int64_t row = 0; row < p->rows; row++) gemm_end_row(f, p, row, sums + row * ld);
}

// Whether c = alpha * sums or c += alpha * sums is all there is to do.
VEC bool gemm_is_plain(const kiln__gemm_finish *f) {
  return !f->carry.data && !f->bias && !f->preactivation.data && !f->activation && !f->residual.data;
}

// The plain end of a whole tile.
VEC void gemm_finish_plain(const kiln__gemm_finish *f, const kiln__gemm_part *p, const float *sums) {
  float *c = gemm_at(&f->c, p, 0);
  for (int i = 0; i < KILN_GEMM_MR; i++, c += f->c.row, sums += KILN_GEMM_NR) {
    for (int j = 0; j < KILN_GEMM_NR; j += KILN_VL) {
      vf v = f->alpha * vf_load(sums + j);
      vf_store(c + j, f->accumulate ? v + vf_load(c + j) : v);
    }
  }
}
