// Scratch of one call of the forward and of the backward.

// A block of queries at work.
typedef struct attention_forward {
  float *q;          // transposed, times the scale
  float *k, *v, *s;  // of the tile
  float *o;          // rows, before the division by the sum
  attention_softmax state;
  attention_tile tile;
  kiln__span block;
  int64_t b, h;
} attention_forward;

// Whether query i sees any key.
static bool attention_sees(const kiln__attention_args *a, int64_t b, int64_t i) {
  kiln__span keys = kiln__visible(a, b, i);
  return keys.begin < keys.end;
}

// lse of a query from the maximum of its scores, in units of ln 2, and the sum of exponentials relative to it.
static void attention_put_lse(const kiln__attention_args *a, int64_t b, int64_t i, int64_t h, float max, float sum) {
  if (!a->lse.data) return;
  float *lse = kiln__heads_row(&a->lse, b, i, h, sizeof(float));
  *lse = attention_sees(a, b, i) ? max * ATTENTION_LN2 + logf(sum) : -INFINITY;
}

// A block of keys at work, and the queries that come by.
typedef struct attention_backward {
  float *k, *v, *dk, *dv;  // rows; dk before the scale
  float *k_t, *v_t;        // transposed; k times the scale
  float *q, *d_o;          // rows
  float *p, *ds;           // scores of the tile
  float *lse, *delta;      // [group, queries]: lse in units of ln 2; delta = rowsum(d_o * o)
  float *dq;               // [group, queries, ld], before the scale
  attention_tile tile;
  int64_t b, hkv, queries;  // queries: tq in whole groups of ATTENTION_MR
} attention_backward;

VEC int64_t attention_padded_queries(const kiln__attention_args *a) { return kiln__round_up(a->tq, ATTENTION_MR); }

static attention_backward attention_take_backward(const kiln__attention_args *a, float *scratch) {
  int64_t keys = ATTENTION_COLUMNS * attention_ld(a->d), queries = ATTENTION_ROWS * attention_ld(a->d);
  int64_t transposed = a->d * ATTENTION_COLUMNS, tile = ATTENTION_ROWS * ATTENTION_COLUMNS;
  attention_backward x = {.queries = attention_padded_queries(a)};
  x.k = attention_take(&scratch, keys);
  x.v = attention_take(&scratch, keys);
  x.dk = attention_take(&scratch, keys);
  x.dv = attention_take(&scratch, keys);
  x.k_t = attention_take(&scratch, transposed);
  x.v_t = attention_take(&scratch, transposed);
  x.q = attention_take(&scratch, queries);
  x.d_o = attention_take(&scratch, queries);
  x.p = attention_take(&scratch, tile);
  x.ds = attention_take(&scratch, tile);
  x.lse = attention_take(&scratch, a->group * x.queries);
  x.delta = attention_take(&scratch, a->group * x.queries);
  return x;
}

static size_t attention_scratch(const kiln__attention_args *a, bool backward) {
  int64_t tile = ATTENTION_ROWS * ATTENTION_COLUMNS, row = attention_ld(a->d);
  int64_t forward = tile + (2 * ATTENTION_ROWS + 2 * ATTENTION_COLUMNS) * row + 3 * ATTENTION_COLUMNS;
  int64_t backward_blocks = 2 * tile + (2 * ATTENTION_ROWS + 6 * ATTENTION_COLUMNS) * row;
  int64_t floats = backward ? backward_blocks + 2 * a->group * attention_padded_queries(a) : forward;
  return (size_t)floats * sizeof(float);
}

static size_t attention_sums(const kiln__attention_args *a) {
  return (size_t)(a->group * attention_padded_queries(a) * attention_ld(a->d)) * sizeof(float);
}

// A few queries at work on a part of the keys: a row for each head and query.
enum { ATTENTION_FEW = 4, ATTENTION_RUN = 32 };  // queries at most; keys that are taken at once

typedef struct attention_queries {
  float *o;  // [rows, ld]: o before the division, and behind it the maximum of the scores so far and the sum
  float *q;  // [rows, ld]: times the scale
  float *s;  // [rows, ATTENTION_RUN]
  int64_t heads, b;  // heads: of keys
} attention_queries;

static bool attention_few(const kiln__attention_args *a) {
  return a->tq <= ATTENTION_FEW && KILN_VL > 1 && a->d % KILN_VL == 0;
}

static size_t attention_query_bytes(const kiln__attention_args *a, int64_t heads, bool scratch) {
  int64_t row = attention_ld(a->d) + (scratch ? ATTENTION_RUN : 0);
  return (size_t)(heads * a->group * a->tq * row) * sizeof(float);
}

// Turns the scores of n keys from j0 on into exponentials relative to the new maximum, those of masked pairs into 0.
static void attention_query_exponentials(const kiln__attention_args *a, const attention_queries *x, int64_t j0,
                                         int64_t n) {
  int64_t d = a->d, ld = attention_ld(d);
  for (int64_t row = 0; row < x->heads * a->group * a->tq; row++) {
    kiln__span keys = kiln__visible(a, x->b, row % a->tq);
    keys.begin = attention_clamp(keys.begin - j0, 0, n);
    keys.end = attention_clamp(keys.end - j0, 0, n);
    float *s = x->s + row * ATTENTION_RUN, *o = x->o + row * ld;
    vf most = vf_set(o[d]);
    for (int64_t j = 0; j < ATTENTION_RUN; j += KILN_VL) {
      vf score = vf_select(attention_lanes(j, keys), vf_load(s + j), vf_set(-INFINITY));
      vf_store(s + j, score);
      most = vf_max(most, score);
    }
    float max = vf_max_lane(most);
    vf origin = attention_origin(vf_set(max)), sum = vf_set(0), factor = attention_exp2(o[d] - origin);
    for (int64_t j = 0; j < ATTENTION_RUN; j += KILN_VL) {
      vf e = attention_exp2(vf_load(s + j) - origin);
      vf_store(s + j, e);
      sum = sum + e;
    }
    for (int64_t c = 0; c < d && o[d] < max; c += KILN_VL) vf_store(o + c, vf_load(o + c) * factor);
    o[d + 1] = o[d + 1] * factor[0] + vf_sum(sum);
    o[d] = max;
  }
}
