// What the forward and the backward of attention are made of: tiles in scratch memory and their products.
//
// Letters: a tile has nq <= ATTENTION_Q queries and nk <= ATTENTION_K keys. Scores s[key * ATTENTION_Q + query]; rows
// of d elements at stride ld = attention_ld(d), zero beyond d; a transposed block t[c * ATTENTION_Q + query].
// Key j of the tile is visible to query i iff j <= i + shift; shift >= nk means that all are.

// The products' accumulators: ATTENTION_MR x ATTENTION_NV vectors fill the registers (12 of 16 or 24 of 32).
enum {
  ATTENTION_MR = 6,
  ATTENTION_NV = KILN_GEMM_MR * KILN_GEMM_NV > 16 ? 4 : 2,
  ATTENTION_Q = 96,  // a multiple of ATTENTION_MR and of every KILN_VL, as the tile has queries down and across
  ATTENTION_K = 96
};

// An odd number of cache lines, so that the rows of a tile do not fall into the same sets of the cache.
VEC int64_t attention_ld(int64_t d) { return kiln__round_up(d, 32) + 16; }

VEC int64_t attention_clamp(int64_t x, int64_t low, int64_t high) { return kiln__min(kiln__max(x, low), high); }

// The next n floats of the scratch memory.
VEC float *attention_take(float **scratch, int64_t n) {
  float *taken = *scratch;
  *scratch += n;
  return taken;
}

static void attention_add(void *to, int64_t ldto, const void *from, int64_t ldfrom, int64_t n, int64_t d) {
  for (int64_t i = 0; i < n; i++) {
    float *y = (float *)to + i * ldto;
    const float *x = (const float *)from + i * ldfrom;
    for (int64_t c = 0; c < d; c += KILN_VL) vf_write(y + c, vf_read(y + c, d - c) + vf_read(x + c, d - c), d - c);
  }
}

// c[r, :] (+)= sum over k < n of a[r * row + k * step] b[k, :], for mr rows and nv vectors of columns.
VEC void attention_tile(float *c, int64_t ldc, const float *a, int mr, int64_t row, int64_t step, const float *b,
                        int64_t ldb, int64_t n, int nv, bool add) {
  vf sum[ATTENTION_MR][ATTENTION_NV];
  for (int r = 0; r < mr; r++) {
    for (int v = 0; v < nv; v++) sum[r][v] = vf_set(0);
  }
  for (int64_t k = 0; k < n; k++) {
    vf bk[ATTENTION_NV];
    for (int v = 0; v < nv; v++) bk[v] = vf_load(b + k * ldb + v * KILN_VL);
    for (int r = 0; r < mr; r++) {
      vf ak = vf_set(a[r * row + k * step]);
      for (int v = 0; v < nv; v++) sum[r][v] = vf_fma(ak, bk[v], sum[r][v]);
    }
  }
  for (int r = 0; r < mr; r++) {
    for (int v = 0; v < nv; v++) {
      float *p = c + r * ldc + v * KILN_VL;
      vf_store(p, add ? vf_load(p) + sum[r][v] : sum[r][v]);
    }
  }
}

// The same for any number of columns, rounded up to whole vectors.
VEC void attention_rows(float *c, int64_t ldc, const float *a, int mr, int64_t row, int64_t step, const float *b,
                        int64_t ldb, int64_t n, int64_t columns, bool add) {
  int64_t j = 0, vl = KILN_VL;
  for (; j + (ATTENTION_NV - 1) * vl < columns; j += ATTENTION_NV * vl) {
    attention_tile(c + j, ldc, a, mr, row, step, b + j, ldb, n, ATTENTION_NV, add);
  }
  for (; j + vl < columns; j += 2 * vl) attention_tile(c + j, ldc, a, mr, row, step, b + j, ldb, n, 2, add);
  if (j < columns) attention_tile(c + j, ldc, a, mr, row, step, b + j, ldb, n, 1, add);
}

// s[j, i] = k[j, :] . t[:, i] for every visible pair; what else is there may be written or not.
static void attention_scores(float *s, const float *k, const float *t, int64_t nk, int64_t nq, int64_t d,
                             int64_t shift) {
  int64_t ld = attention_ld(d);
  for (int64_t j = 0; j < nk; j += ATTENTION_MR) {
    int64_t i = attention_clamp(j - shift, 0, nq) / KILN_VL * KILN_VL;
    attention_rows(s + j * ATTENTION_Q + i, ATTENTION_Q, k + j * ld, ATTENTION_MR, ld, 1, t + i, ATTENTION_Q, d, nq - i,
                   false);
  }
}

// out[i, :] += sum over the keys j of p[j, i] x[j, :]. Pairs masked inside a group of ATTENTION_MR queries count with
// p = 0, which a NaN or infinity in x outlives.
static void attention_by_query(float *out, const float *p, const float *x, int64_t nk, int64_t nq, int64_t d,
                               int64_t shift) {
  int64_t ld = attention_ld(d);
  for (int64_t i = 0; i < nq; i += ATTENTION_MR) {
    int64_t n = attention_clamp(i + ATTENTION_MR + shift, 0, nk);
    attention_rows(out + i * ld, ld, p + i, ATTENTION_MR, 1, ATTENTION_Q, x, ld, n, d, true);
  }
}

// out[j, :] = sum over the queries i of p[j, i] x[i, :].
static void attention_by_key(float *out, const float *p, const float *x, int64_t nk, int64_t nq, int64_t d,
                             int64_t shift) {
  int64_t ld = attention_ld(d);
  for (int64_t j = 0; j < nk; j += ATTENTION_MR) {
    int64_t i = attention_clamp(j - shift, 0, nq);
    attention_rows(out + j * ld, ld, p + j * ATTENTION_Q + i, ATTENTION_MR, ATTENTION_Q, 1, x + i * ld, ld, nq - i, d,
                   false);
  }
}

// Of the vector of queries that begins at i: how many keys, from the first, any of them sees, and all of them see.
VEC void attention_visible(int64_t i, int64_t nk, int64_t shift, int64_t *any, int64_t *all) {
  *any = attention_clamp(i + KILN_VL + shift, 0, nk);
  *all = attention_clamp(i + 1 + shift, 0, nk);
}

// The lanes of that vector that see key j.
VEC vi attention_mask(int64_t i, int64_t j, int64_t shift) {
  vi lane;
  for (int r = 0; r < KILN_VL; r++) lane[r] = r;
  return lane >= (int32_t)(j - i - shift);
}
