// The end of a tile: from its sums to c, while it is in the first cache.

VEC float *gemm_at(const kiln__matrix *x, const kiln__gemm_part *p, int64_t row) {
  return x->data ? (float *)x->data + p->batch * x->batch + (p->i + row) * x->row + p->j : NULL;
}

VEC void gemm_finish_row(const kiln__gemm_finish *f, const kiln__gemm_part *p, int64_t row, const float *sums) {
  const float *carry = gemm_at(&f->carry, p, row), *residual = gemm_at(&f->residual, p, row);
  const float *bias = f->bias ? (const float *)f->bias + p->j : NULL;
  float *pre = gemm_at(&f->preactivation, p, row), *c = gemm_at(&f->c, p, row);
  for (int64_t j = 0; j < p->cols; j += KILN_VL) {
    int64_t n = p->cols - j;
    vf v = f->alpha * vf_read(sums + j, n);
    if (carry) v = v + vf_read(carry + j, n);
    if (bias) v = v + vf_read(bias + j, n);
    if (pre) vf_write(pre + j, v, n);
    if (f->activation) v = act_value(f->activation, v);
    if (residual) v = v + vf_read(residual + j, n);
    if (f->accumulate) v = v + vf_read(c + j, n);
    vf_write(c + j, v, n);
  }
}

// sums [p->rows, p->cols], ld from row to row
static void gemm_finish(const kiln__gemm_finish *f, const kiln__gemm_part *p, const float *sums, int64_t ld) {
  for (int64_t row = 0; row < p->rows; row++) gemm_finish_row(f, p, row, sums + row * ld);
}
