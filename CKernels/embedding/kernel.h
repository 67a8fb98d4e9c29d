// Table look-up and its gradient in vectors.

static void embedding_fwd(const kiln__embedding_args *a, int64_t c, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) {
    float *y = (float *)a->y + i * a->ldy;
    const float *row = (const float *)a->table + a->ids[i % a->ids_count] * a->ld_table;
    for (int64_t k = 0; k < c; k += KILN_VL) {
      vf v = vf_read(row + k, c - k);
      vf_write(y + k, a->accumulate ? vf_read(y + k, c - k) + v : v, c - k);
    }
  }
}

static void embedding_bwd(const kiln__embedding_args *a, int64_t begin, int64_t end) {
  for (int64_t i = 0; i < a->rows; i++) {
    const float *dy = (const float *)a->dy + i * a->ldy;
    float *row = (float *)a->dtable + a->ids[i % a->ids_count] * a->ld_table;
    for (int64_t k = begin; k < end; k += KILN_VL) {
      vf_write(row + k, vf_read(row + k, end - k) + vf_read(dy + k, end - k), end - k);
    }
  }
}

static const kiln__embedding_kernels embedding_kernels = {embedding_fwd, embedding_bwd};
