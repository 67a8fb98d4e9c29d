// Between tensors, whose elements are ELEMENT, and the fp32 of tiles.

VEC ELEMENT *KER(attention_row)(const kiln__heads *x, int64_t b, int64_t t, int64_t h) {
  return kiln__heads_row(x, b, t, h, sizeof(ELEMENT));
}

// Before work on row t of `most`: fetches a later one. The rows of a head lie so far apart that the hardware does not.
VEC void KER(attention_fetch_row)(const kiln__heads *x, int64_t b, int64_t t, int64_t most, int64_t h, int64_t d,
                                  bool write) {
  const char *row = (const char *)KER(attention_row)(x, b, kiln__min(t + 12, most - 1), h);
  for (int64_t at = 0; at < d * (int64_t)sizeof(ELEMENT); at += 64) {
    if (write) __builtin_prefetch(row + at, 1, 3);
    else __builtin_prefetch(row + at, 0, 3);
  }
}

// The ATTENTION_ROWS rows of head h from t on, of the tq or tk that there are, for a product of n rows.
VEC attention_ahead KER(attention_ahead)(const kiln__heads *x, int64_t b, int64_t t, int64_t h, int64_t most, int64_t d,
                                         int64_t n) {
  int64_t size = sizeof(ELEMENT), rows = kiln__min(ATTENTION_ROWS, most - t);
  return (attention_ahead){(const char *)KER(attention_row)(x, b, t, h), rows, d * size, x->t * size,
                           kiln__ceil_div(ATTENTION_ROWS * ATTENTION_MR, n)};
}

// out[i, :] = x[i, :] for rows i of head h from t on, zero beyond d and beyond n up to a multiple of ATTENTION_MR rows.
static void KER(attention_load)(float *out, const kiln__heads *x, int64_t b, int64_t t, int64_t h, int64_t n,
                                int64_t d) {
  int64_t ld = attention_ld(d);
  for (int64_t i = 0; i < n; i++) {
    const ELEMENT *row = KER(attention_row)(x, b, t + i, h);
    KER(attention_fetch_row)(x, b, t + i, t + n, h, d, false);
    for (int64_t c = 0; c < d; c += KILN_VL) vf_store(out + i * ld + c, vf_read(row + c, d - c));
  }
  memset(out + n * ld, 0, (size_t)((kiln__round_up(n, ATTENTION_MR) - n) * ld) * sizeof(float));
}

// x[i, :] = alpha from[i, :]
static void KER(attention_store)(const kiln__heads *x, int64_t b, int64_t t, int64_t h, const float *from, int64_t n,
                                 int64_t d, float alpha) {
  int64_t ld = attention_ld(d);
  for (int64_t i = 0; i < n; i++) {
    ELEMENT *row = KER(attention_row)(x, b, t + i, h);
    KER(attention_fetch_row)(x, b, t + i, t + n, h, d, true);
    for (int64_t c = 0; c < d; c += KILN_VL) vf_write(row + c, alpha * vf_load(from + i * ld + c), d - c);
  }
}
