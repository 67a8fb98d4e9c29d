// Scratch of one call of the forward and of the backward.

// A block of queries at work.
typedef struct attention_forward {
  float *q;          // times the scale: rows if few, else transposed
  float *k, *v, *s;  // of the tile
  float *o;          // rows, before the division by the sum
  attention_softmax state;
  attention_tile tile;
  kiln__span block;
  int64_t b, h;
  bool few;
} attention_forward;

// Whether a block of nq queries goes along the keys query by query, as in generation.
VEC bool attention_few_queries(int64_t nq, int64_t d) { return nq <= 4 && KILN_VL > 1 && d % KILN_VL == 0; }

// The queries, which lie in x->o in rows, into x->q.
static void attention_scale_queries(attention_forward *x, int64_t d, float scale) {
  int64_t n = x->block.end - x->block.begin, ld = attention_ld(d);
  if (!x->few) {
    attention_transpose(x->q, x->o, n, d, scale);
    return;
  }
  for (int64_t i = 0; i < n * ld; i += KILN_VL) vf_store(x->q + i, scale * vf_load(x->o + i));
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
