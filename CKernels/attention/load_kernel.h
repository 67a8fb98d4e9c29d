// Between tensors, whose elements are ELEMENT, and the fp32 of tiles.

VEC ELEMENT *KER(attention_row)(const kiln__heads *x, int64_t b, int64_t t, int64_t h) {
  return kiln__heads_row(x, b, t, h, sizeof(ELEMENT));
}

// out[i, :] = alpha x[i, :], zero beyond d and beyond n up to a multiple of ATTENTION_MR rows.
static void KER(attention_load)(float *out, const ELEMENT *x, int64_t stride, int64_t n, int64_t d, float alpha) {
  int64_t ld = attention_ld(d);
  for (int64_t i = 0; i < n; i++) {
    for (int64_t c = 0; c < d; c += KILN_VL) vf_store(out + i * ld + c, alpha * vf_read(x + i * stride + c, d - c));
  }
  memset(out + n * ld, 0, (size_t)((kiln__round_up(n, ATTENTION_MR) - n) * ld) * sizeof(float));
}

// out[c, i] = alpha x[i, c], zero beyond n up to a whole vector.
static void KER(attention_load_transposed)(float *out, const ELEMENT *x, int64_t stride, int64_t n, int64_t d,
                                           float alpha) {
  for (int64_t i = 0; i < n; i++) {
    for (int64_t c = 0; c < d; c++) out[c * ATTENTION_Q + i] = alpha * get(x + i * stride + c);
  }
  for (int64_t c = 0; c < d; c++) {
    for (int64_t i = n; i < kiln__round_up(n, KILN_VL); i++) out[c * ATTENTION_Q + i] = 0;
  }
}

static void KER(attention_store)(void *to, int64_t ldto, const void *from, int64_t ldfrom, int64_t n, int64_t d) {
  for (int64_t i = 0; i < n; i++) {
    ELEMENT *y = (ELEMENT *)to + i * ldto;
    const float *x = (const float *)from + i * ldfrom;
    for (int64_t c = 0; c < d; c += KILN_VL) vf_write(y + c, vf_read(x + c, d - c), d - c);
  }
}
