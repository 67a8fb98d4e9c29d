// The exponentials of attention. Scores are in units of ln 2 (the factor log2 e is in the scale of q or k), so that
// they are powers of 2.

#define ATTENTION_LOG2E 1.4426950408889634
#define ATTENTION_LN2 0.6931471805599453f

// 2^x within 2 ulp, for x <= 0 (or a rounding more); 0 below -126, NaN for NaN.
// x = n + r with |r| <= 1/2; 2^r by a minimax polynomial with 2^0 = 1, in a short chain of dependent operations.
VEC vf attention_exp2(vf x) {
  vf shifter = vf_set(12582912.0f + 127);  // 1.5 * 2^23: adding it rounds to an integer; 127: the exponent's bias
  vf shifted = x + shifter;                // ends in the bits of n + 127
  vf r = x - (shifted - shifter), square = r * r;
  vf low = vf_fma(r, vf_set(6.9314724e-1f), vf_set(1.0f));
  vf middle = vf_fma(r, vf_set(5.5503104e-2f), vf_set(2.4022652e-1f));
  vf high = vf_fma(r, vf_set(1.3406643e-3f), vf_set(9.6176928e-3f));
  high = vf_fma(square, vf_set(1.5594678e-4f), high);
  middle = vf_fma(square, high, middle);
  vf p = vf_fma(square, middle, low) * (vf)((vi)shifted << 23);
  return (vf)(~(x < -126.0f) & (vi)p);
}

// The lanes c, c + 1, ... that lie in a span.
VEC vi attention_lanes(int64_t c, kiln__span span) {
  vi lane;
  for (int r = 0; r < KILN_VL; r++) lane[r] = r;
  return (lane >= (int32_t)(span.begin - c)) & (lane < (int32_t)(span.end - c));
}

// The larger of two; NaN if either is.
VEC float attention_larger(float x, float y) { return y > x || y != y ? y : x; }

// The running state of a block of queries.
typedef struct attention_softmax {
  float *max, *sum;  // of the scores seen so far, and of their exponentials relative to max
  float *factor;     // what this tile's change of max makes of the earlier sums
} attention_softmax;

// The maximum to which exponentials are relative: where all scores are -infinity 0, which gives exponentials of 0
// instead of -infinity + infinity.
VEC vf attention_origin(vf max) { return vf_select(max == vf_set(-INFINITY), vf_set(0), max); }

// Sets the scores of masked pairs to -infinity in the vector of queries from column i on, for keys j ..< end.
VEC void attention_mask(float *s, const attention_tile *t, int64_t i, int64_t j, int64_t end) {
  for (; j < end; j++) {
    float *p = s + j * ATTENTION_COLUMNS + i;
    vf_store(p, vf_select(attention_lanes(i, t->queries[j]), vf_load(p), vf_set(-INFINITY)));
  }
}

// Forward: turns the scores of that vector into exponentials relative to the new maximum, those of masked pairs into 0.
VEC void attention_column_exponentials(float *s, const attention_softmax *state, const attention_tile *t, int64_t i) {
  int64_t last = kiln__min(i + KILN_VL, t->nq) - 1;
  int64_t begin = t->keys[i].begin, all = t->keys[last].begin, some = t->keys[i].end, end = t->keys[last].end;
  attention_mask(s, t, i, begin, kiln__min(all, end));
  attention_mask(s, t, i, kiln__max(all, some), end);
  vf before = vf_load(state->max + i), max = before, sum = vf_set(0);
  // A NaN may get lost here, but not in the exponentials.
  for (int64_t j = begin; j < end; j++) max = vf_max(max, vf_load(s + j * ATTENTION_COLUMNS + i));
  vf origin = attention_origin(max);
  for (int64_t j = 0; j < begin; j++) vf_store(s + j * ATTENTION_COLUMNS + i, vf_set(0));
  for (int64_t j = begin; j < end; j++) {
    float *p = s + j * ATTENTION_COLUMNS + i;
    vf e = attention_exp2(vf_load(p) - origin);
    sum = sum + e;
    vf_store(p, e);
  }
  for (int64_t j = end; j < t->nk; j++) vf_store(s + j * ATTENTION_COLUMNS + i, vf_set(0));
  vf factor = attention_exp2(before - origin);
  vf_store(state->factor + i, factor);
  vf_store(state->sum + i, vf_fma(vf_load(state->sum + i), factor, sum));
  vf_store(state->max + i, max);
}

static void attention_exponentials(float *s, const attention_softmax *state, const attention_tile *t) {
  for (int64_t i = 0; i < t->nq; i += KILN_VL) attention_column_exponentials(s, state, t, i);
}

// o[i, :] *= factor[i]
static void attention_rescale(float *o, const float *factor, int64_t nq, int64_t d) {
  int64_t ld = attention_ld(d);
  for (int64_t i = 0; i < nq; i++) {
    if (factor[i] == 1) continue;
    for (int64_t c = 0; c < d; c += KILN_VL) vf_store(o + i * ld + c, factor[i] * vf_load(o + i * ld + c));
  }
}

// Backward: p = exp(s - lse) and ds = p * (dp - delta) in place of the scores s in p and of dp in ds, 0 for masked
// pairs.
static void attention_probabilities(float *p, float *ds, const float *lse, const float *delta,
                                    const attention_tile *t) {
  for (int64_t i = 0; i < t->nq; i++, p += ATTENTION_COLUMNS, ds += ATTENTION_COLUMNS) {
    kiln__span keys = t->keys[i];
    for (int64_t j = keys.begin / KILN_VL * KILN_VL; j < keys.end; j += KILN_VL) {
      vf probability = attention_exp2(vf_load(p + j) - lse[i]);
      vf_store(ds + j, probability * (vf_load(ds + j) - delta[i]));
      vf_store(p + j, probability);
    }
    for (int64_t j = 0; j < t->nk; j += KILN_VL) {
      if (keys.begin <= j && j + KILN_VL <= keys.end) continue;
      vi mask = attention_lanes(j, keys);
      vf_store(p + j, (vf)(mask & (vi)vf_load(p + j)));
      vf_store(ds + j, (vf)(mask & (vi)vf_load(ds + j)));
    }
  }
}
