// What the forward and the backward of attention are made of: tiles in scratch memory, which of their pairs are
// visible, and their products.
//
// Letters: the scores of a tile of nq queries and nk keys are a matrix s of rows r and columns c at stride
// ATTENTION_COLUMNS; the forward has keys down and queries across, the backward the reverse. Blocks of queries and keys
// are rows of d elements at stride ld = attention_ld(d), zero beyond d; or the same transposed, at stride
// ATTENTION_COLUMNS.

// The products' accumulators: ATTENTION_MR x ATTENTION_NV vectors fill the registers (12 of 16 or 24 of 32). The other
// sizes are multiples of ATTENTION_MR and of every KILN_VL. What stays is as large as the second cache permits, since
// what comes by is loaded once for each of it; a strip of scores fits the first cache.
enum {
  ATTENTION_MR = 6,
  ATTENTION_NV = KILN_GEMM_MR * KILN_GEMM_NV > 16 ? 4 : 2,
  ATTENTION_ROWS = 96,      // at most, of what comes by
  ATTENTION_COLUMNS = 192,  // at most, of what stays
  ATTENTION_STRIP = 48      // columns that the forward takes at once
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

// A tile: where it lies, and what is visible in it. Spans count from the tile's first key and query.
typedef struct attention_tile {
  int64_t i0, nq, j0, nk;
  kiln__span keys[ATTENTION_ROWS];        // that each query sees
  kiln__span queries[ATTENTION_COLUMNS];  // that see each key
} attention_tile;

// Fills the spans; whether any pair is visible.
static bool attention_look(const kiln__attention_args *a, int64_t b, attention_tile *t) {
  for (int64_t i = 0; i < t->nq; i++) {
    kiln__span keys = kiln__visible(a, b, t->i0 + i);
    t->keys[i].begin = attention_clamp(keys.begin - t->j0, 0, t->nk);
    t->keys[i].end = attention_clamp(keys.end - t->j0, 0, t->nk);
  }
  int64_t begin = 0, end = 0;
  for (int64_t j = 0; j < t->nk; j++) {
    while (begin < t->nq && t->keys[begin].end <= j) begin++;
    while (end < t->nq && t->keys[end].begin <= j) end++;
    t->queries[j] = (kiln__span){begin, kiln__max(begin, end)};
  }
  return t->keys[0].begin < t->nk && t->keys[t->nq - 1].end > 0;
}

// Rows that will be needed next: `rows` of them, `bytes` each, `stride` bytes apart. A product fetches them by the way,
// `step` with each group of ATTENTION_MR of its own rows.
typedef struct attention_ahead {
  const char *next;
  int64_t rows, bytes, stride, step;
} attention_ahead;

VEC void attention_fetch(attention_ahead *x) {
  for (int64_t r = 0; r < x->step && x->rows > 0; r++, x->rows--, x->next += x->stride) {
    for (int64_t at = 0; at < x->bytes; at += 64) __builtin_prefetch(x->next + at, 0, 2);
  }
}

// out[c, i] = alpha x[i, c] for n rows, zero beyond n up to a whole vector.
static void attention_transpose(float *out, const float *x, int64_t n, int64_t d, float alpha) {
  int64_t ld = attention_ld(d);
  for (int64_t c = 0; c < d; c++) {
    for (int64_t i = 0; i < n; i++) out[c * ATTENTION_COLUMNS + i] = alpha * x[i * ld + c];
    for (int64_t i = n; i < kiln__round_up(n, KILN_VL); i++) out[c * ATTENTION_COLUMNS + i] = 0;
  }
}

// c[r, :] (+)= sum over k < n of a[r * row + k * step] b[k, :], for mr rows and nv vectors of columns.
VEC void attention_registers(float *c, int64_t ldc, const float *a, int mr, int64_t row, int64_t step, const float *b,
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
VEC void attention_rows(float *c, int64_t ldc, const float *a, int64_t row, int64_t step, const float *b, int64_t ldb,
                        int64_t n, int64_t columns, bool add) {
  const int mr = ATTENTION_MR;
  int64_t j = 0, vl = KILN_VL;
  for (; j + (ATTENTION_NV - 1) * vl < columns; j += ATTENTION_NV * vl) {
    attention_registers(c + j, ldc, a, mr, row, step, b + j, ldb, n, ATTENTION_NV, add);
  }
  for (; j + vl < columns; j += 2 * vl) attention_registers(c + j, ldc, a, mr, row, step, b + j, ldb, n, 2, add);
  if (j < columns) attention_registers(c + j, ldc, a, mr, row, step, b + j, ldb, n, 1, add);
}

// s[r, c] = x[r, :] . t[:, c] for the visible columns of n rows; what else is there may be written or not.
static void attention_scores(float *s, const float *x, const float *t, const kiln__span *columns, int64_t n,
                             int64_t d, attention_ahead ahead) {
  int64_t ld = attention_ld(d);
  for (int64_t r = 0; r < n; r += ATTENTION_MR) {
    attention_fetch(&ahead);
    int64_t c = columns[r].begin / KILN_VL * KILN_VL, end = columns[kiln__min(r + ATTENTION_MR, n) - 1].end;
    attention_rows(s + r * ATTENTION_COLUMNS + c, ATTENTION_COLUMNS, x + r * ld, ld, 1, t + c, ATTENTION_COLUMNS, d,
                   end - c, false);
  }
}

// out[r, :] += sum over the columns c of s[r, c] x[c, :] for n rows. Pairs masked inside a group of ATTENTION_MR rows
// count with s = 0, which a NaN or infinity in x outlives.
static void attention_by_row(float *out, const float *s, const float *x, const kiln__span *columns, int64_t n,
                             int64_t d, attention_ahead ahead) {
  int64_t ld = attention_ld(d);
  for (int64_t r = 0; r < n; r += ATTENTION_MR) {
    attention_fetch(&ahead);
    int64_t c = columns[r].begin, end = columns[kiln__min(r + ATTENTION_MR, n) - 1].end;
    if (c >= end) continue;
    attention_rows(out + r * ld, ld, s + r * ATTENTION_COLUMNS + c, ATTENTION_COLUMNS, 1, x + c * ld, ld, end - c, d,
                   true);
  }
}

// out[c, :] += sum over the rows r of s[r, c] x[r, :] for n columns; masked pairs as above.
static void attention_by_column(float *out, const float *s, const float *x, const kiln__span *rows, int64_t n,
                                int64_t d, attention_ahead ahead) {
  int64_t ld = attention_ld(d);
  for (int64_t c = 0; c < n; c += ATTENTION_MR) {
    attention_fetch(&ahead);
    int64_t r = rows[c].begin, end = rows[kiln__min(c + ATTENTION_MR, n) - 1].end;
    if (r >= end) continue;
    attention_rows(out + c * ld, ld, s + r * ATTENTION_COLUMNS + c, 1, ATTENTION_COLUMNS, x + r * ld, ld, end - r, d,
                   true);
  }
}
