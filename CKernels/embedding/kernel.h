// Table look-up and its gradient in vectors.

VEC vw KER(embedding_read)(const kiln__embedding_args *a, int64_t at, int64_t n) {
  return a->wide_table ? vw_read((const float *)a->table + at, n) : vw_read((const ELEMENT *)a->table + at, n);
}

static void KER(embedding_fwd)(const kiln__embedding_args *a, int64_t c, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) {
    ELEMENT *y = (ELEMENT *)a->y + i * a->ldy;
    int64_t row = a->ids[i % a->ids_count] * a->ld_table;
    for (int64_t k = 0; k < c; k += KILN_WL) {
      vw v = KER(embedding_read)(a, row + k, c - k);
      vf_write(y + k, a->accumulate ? vw_read(y + k, c - k) + v : v, c - k);
    }
  }
}

static void KER(embedding_bwd)(const kiln__embedding_args *a, int64_t begin, int64_t end) {
  for (int64_t i = 0; i < a->rows; i++) {
    const ELEMENT *dy = (const ELEMENT *)a->dy + i * a->ldy;
    float *row = (float *)a->dtable + a->ids[i % a->ids_count] * a->ld_table;
    for (int64_t k = begin; k < end; k += KILN_WL) {
      vf_write(row + k, vw_read(row + k, end - k) + vw_read(dy + k, end - k), end - k);
    }
  }
}

static const kiln__embedding_kernels KER(embedding_kernels) = {KER(embedding_fwd), KER(embedding_bwd)};
