// A tile of the forward of attention: softmax(scale q k^T) v with a running maximum and sum.

// The running state of a block of queries.
typedef struct attention_softmax {
  float *max, *sum;  // [ATTENTION_Q]: of the scores seen so far, and of their exponentials relative to max
  float *factor;     // what this tile's change of max makes of the earlier sums
} attention_softmax;

// Scratch of one call, and the block of queries at work.
typedef struct attention_forward {
  float *q;            // times scale: rows if few, else transposed
  float *k, *v, *s;    // of the tile
  float *o;            // rows, before the division by the sum
  attention_softmax state;
  int64_t b, h, i0, nq;
  bool few;
} attention_forward;

// Turns the scores of a tile into exponentials relative to the new maximum, those of masked pairs into 0.
static void attention_exponentials(float *s, const attention_softmax *state, int64_t nk, int64_t nq, int64_t shift) {
  vf none = vf_set(-INFINITY);
  for (int64_t i = 0; i < nq; i += KILN_VL) {
    int64_t any, all;
    attention_visible(i, nk, shift, &any, &all);
    vf before = vf_load(state->max + i), max = before, sum = vf_set(0);
    for (int64_t j = all; j < any; j++) {
      float *p = s + j * ATTENTION_Q + i;
      vf_store(p, vf_select(attention_mask(i, j, shift), vf_load(p), none));
    }
    // A NaN may get lost here, but not in the exponentials.
    for (int64_t j = 0; j < any; j++) max = vf_max(max, vf_load(s + j * ATTENTION_Q + i));
    // Where all scores are -infinity, relative to 0 gives exponentials of 0 instead of -infinity + infinity.
    vf origin = vf_select(max == none, vf_set(0), max);
    for (int64_t j = 0; j < any; j++) {
      float *p = s + j * ATTENTION_Q + i;
      vf e = vf_exp(vf_load(p) - origin);
      sum = sum + e;
      vf_store(p, e);
    }
    for (int64_t j = any; j < nk; j++) vf_store(s + j * ATTENTION_Q + i, vf_set(0));
    vf factor = vf_exp(before - origin);
    vf_store(state->factor + i, factor);
    vf_store(state->sum + i, vf_fma(vf_load(state->sum + i), factor, sum));
    vf_store(state->max + i, max);
  }
}

// o[i, :] *= factor[i]
static void attention_rescale(float *o, const float *factor, int64_t nq, int64_t d) {
  int64_t ld = attention_ld(d);
  for (int64_t i = 0; i < nq; i++) {
    if (factor[i] == 1) continue;
    for (int64_t c = 0; c < d; c += KILN_VL) vf_store(o + i * ld + c, factor[i] * vf_load(o + i * ld + c));
  }
}

// A tile's part of o; q transposed, k and v in rows.
static void attention_fwd_tile(float *o, float *s, const attention_softmax *state, const float *q, const float *k,
                               const float *v, int64_t nk, int64_t nq, int64_t d, int64_t shift) {
  attention_scores(s, k, q, nk, nq, d, shift);
  attention_exponentials(s, state, nk, nq, shift);
  attention_rescale(o, state->factor, nq, d);
  attention_by_query(o, s, v, nk, nq, d, shift);
}

// Whether a block of nq queries is that.
VEC bool attention_few_queries(int64_t nq, int64_t d) { return nq <= kiln__max(1, KILN_VL / 4) && d % KILN_VL == 0; }

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
