// The forward of attention for a block of queries, which goes along the keys once.

static void KER(attention_begin_forward)(const kiln__attention_args *a, attention_forward *x, float *scratch) {
  int64_t d = a->d, ld = attention_ld(d);
  x->q = attention_take(&scratch, ATTENTION_Q * ld);
  x->k = attention_take(&scratch, ATTENTION_K * ld);
  x->v = attention_take(&scratch, ATTENTION_K * ld);
  x->s = attention_take(&scratch, ATTENTION_K * ATTENTION_Q);
  x->o = attention_take(&scratch, ATTENTION_Q * ld);
  x->state.max = attention_take(&scratch, ATTENTION_Q);
  x->state.sum = attention_take(&scratch, ATTENTION_Q);
  x->state.factor = attention_take(&scratch, ATTENTION_Q);
  const ELEMENT *q = KER(attention_row)(&a->q, x->b, x->i0, x->h);
  if (x->few) KER(attention_load)(x->q, q, a->q.t, x->nq, d, (float)a->scale);
  else KER(attention_load_transposed)(x->q, q, a->q.t, x->nq, d, (float)a->scale);
  memset(x->o, 0, (size_t)(kiln__round_up(x->nq, ATTENTION_MR) * ld) * sizeof(float));
  for (int64_t i = 0; i < kiln__round_up(x->nq, KILN_VL); i++) {
    x->state.max[i] = -INFINITY;
    x->state.sum[i] = 0;
  }
}

static void KER(attention_forward_keys)(const kiln__attention_args *a, const attention_forward *x, int64_t j0,
                                        int64_t nk) {
  int64_t shift = a->causal ? kiln__visible_keys(a, x->i0) - 1 - j0 : nk;
  const ELEMENT *k = KER(attention_row)(&a->k, x->b, j0, x->h / a->group);
  const ELEMENT *v = KER(attention_row)(&a->v, x->b, j0, x->h / a->group);
  if (x->few) {
    KER(attention_query_tile)(x->o, x->s, &x->state, x->q, k, a->k.t, v, a->v.t, nk, x->nq, a->d, shift);
    return;
  }
  KER(attention_load)(x->k, k, a->k.t, nk, a->d, 1);
  KER(attention_load)(x->v, v, a->v.t, nk, a->d, 1);
  attention_fwd_tile(x->o, x->s, &x->state, x->q, x->k, x->v, nk, x->nq, a->d, shift);
}

// o = o / sum and lse of query i of the block.
static void KER(attention_finish_query)(const kiln__attention_args *a, const attention_forward *x, int64_t i) {
  bool sees = kiln__visible_keys(a, x->i0 + i) > 0;
  float sum = x->state.sum[i];
  ELEMENT *out = KER(attention_row)(&a->o, x->b, x->i0 + i, x->h);
  const float *o = x->o + i * attention_ld(a->d);
  for (int64_t c = 0; c < a->d; c += KILN_VL) vf_write(out + c, sees ? vf_load(o + c) / sum : vf_set(0), a->d - c);
  if (!a->lse.data) return;
  float *lse = kiln__heads_row(&a->lse, x->b, x->i0 + i, x->h, sizeof(float));
  *lse = sees ? x->state.max[i] + logf(sum) : -INFINITY;
}

static void KER(attention_fwd)(const kiln__attention_args *a, int64_t b, int64_t h, int64_t block, void *scratch) {
  attention_forward x = {.b = b, .h = h, .i0 = block * ATTENTION_Q};
  x.nq = kiln__min(ATTENTION_Q, a->tq - x.i0);
  x.few = attention_few_queries(x.nq, a->d);
  KER(attention_begin_forward)(a, &x, scratch);
  int64_t keys = kiln__visible_keys(a, x.i0 + x.nq - 1);
  for (int64_t j0 = 0; j0 < keys; j0 += ATTENTION_K) {
    KER(attention_forward_keys)(a, &x, j0, kiln__min(ATTENTION_K, keys - j0));
  }
  for (int64_t i = 0; i < x.nq; i++) KER(attention_finish_query)(a, &x, i);
}
