// The forward of a few queries against many keys, as in generation: a tile would waste its lanes, so each query goes
// along the keys by itself, and reads k and v where they lie. For heads of whole vectors.

// Whether a block of nq queries is that.
VEC bool attention_few_queries(int64_t nq, int64_t d) { return nq <= kiln__max(1, KILN_VL / 4) && d % KILN_VL == 0; }

// s[j] = q . k[j, :] for n keys
static void attention_query_scores(float *s, const float *q, const float *k, int64_t ldk, int64_t n, int64_t d) {
  for (int64_t j = 0; j < n; j++) {
    const float *row = k + j * ldk;
    vf even = vf_set(0), odd = vf_set(0);
    int64_t c = 0;
    for (; c + KILN_VL < d; c += 2 * KILN_VL) {
      even = vf_fma(vf_load(q + c), vf_load(row + c), even);
      odd = vf_fma(vf_load(q + c + KILN_VL), vf_load(row + c + KILN_VL), odd);
    }
    if (c < d) even = vf_fma(vf_load(q + c), vf_load(row + c), even);
    s[j] = vf_sum(even + odd);
  }
}

// As attention_exponentials, for n scores of query i.
static void attention_query_exponentials(float *s, const attention_softmax *state, int64_t i, int64_t n) {
  float before = state->max[i], max = before;
  vf sum = vf_set(0);
  for (int64_t j = 0; j < n; j++) max = s[j] > max ? s[j] : max;
  float origin = max == -INFINITY ? 0 : max;
  for (int64_t j = 0; j < n; j += KILN_VL) {
    vf e = vf_exp((n - j < KILN_VL ? vf_load_part(s + j, n - j, -INFINITY) : vf_load(s + j)) - origin);
    vf_write(s + j, e, n - j);
    sum = sum + e;
  }
  state->factor[i] = expf(before - origin);
  state->sum[i] = state->sum[i] * state->factor[i] + vf_sum(sum);
  state->max[i] = max;
}

// A tile's part of o; q in rows.
static void attention_query_tile(float *o, float *s, const attention_softmax *state, const float *q, const float *k,
                                 int64_t ldk, const float *v, int64_t ldv, int64_t nk, int64_t nq, int64_t d,
                                 int64_t shift) {
  int64_t ld = attention_ld(d);
  for (int64_t i = 0; i < nq; i++) {
    int64_t n = attention_clamp(i + 1 + shift, 0, nk);
    attention_query_scores(s, q + i * ld, k, ldk, n, d);
    attention_query_exponentials(s, state, i, n);
    attention_rescale(o + i * ld, state->factor + i, 1, d);
    attention_rows(o + i * ld, ld, s, 1, 0, 1, v, ldv, n, d, true);
  }
}
