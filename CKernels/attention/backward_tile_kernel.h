// A tile of the backward of attention.

// Scratch of one call, and the block of queries at work.
typedef struct attention_block {
  float *q, *d_o;                // rows; q times scale
  float *q_t, *d_o_t;            // the same transposed
  float *lse, *delta;            // [ATTENTION_Q]; delta = rowsum(d_o * o)
  float *k, *v, *dk, *dv;        // rows of the tile
  float *p, *ds;                 // scores of the tile
  float *dq;                     // rows, before the scale
  int64_t b, h, i0, nq;
} attention_block;

static attention_block attention_take_block(float *scratch, int64_t d) {
  int64_t queries = ATTENTION_Q * attention_ld(d), keys = ATTENTION_K * attention_ld(d);
  int64_t transposed = d * ATTENTION_Q, tile = ATTENTION_K * ATTENTION_Q;
  attention_block x = {.q = attention_take(&scratch, queries), .d_o = attention_take(&scratch, queries),
                       .dq = attention_take(&scratch, queries)};
  x.q_t = attention_take(&scratch, transposed);
  x.d_o_t = attention_take(&scratch, transposed);
  x.k = attention_take(&scratch, keys);
  x.v = attention_take(&scratch, keys);
  x.dk = attention_take(&scratch, keys);
  x.dv = attention_take(&scratch, keys);
  x.p = attention_take(&scratch, tile);
  x.ds = attention_take(&scratch, tile);
  x.lse = attention_take(&scratch, ATTENTION_Q);
  x.delta = attention_take(&scratch, ATTENTION_Q);
  return x;
}

// p = exp(s - lse) and ds = p * (dp - delta) in place of the scores s in x->p and dp in x->ds, 0 for masked pairs.
static void attention_probabilities(const attention_block *x, int64_t nk, int64_t shift) {
  vf zero = vf_set(0);
  for (int64_t i = 0; i < x->nq; i += KILN_VL) {
    int64_t any, all;
    attention_visible(i, nk, shift, &any, &all);
    vf lse = vf_load(x->lse + i), delta = vf_load(x->delta + i);
    for (int64_t j = 0; j < nk; j++) {
      float *pp = x->p + j * ATTENTION_Q + i, *pds = x->ds + j * ATTENTION_Q + i;
      vf p = zero, ds = zero;
      if (j < any) {
        p = vf_exp(vf_load(pp) - lse);
        ds = p * (vf_load(pds) - delta);
      }
      if (j >= all && j < any) {
        vi mask = attention_mask(i, j, shift);
        p = vf_select(mask, p, zero);
        ds = vf_select(mask, ds, zero);
      }
      vf_store(pp, p);
      vf_store(pds, ds);
    }
  }
}
