// The forward of attention for a block of queries, which goes along the keys once.

static void KER(attention_begin_forward)(const kiln__attention_args *a, attention_forward *x, float *scratch) {
  int64_t d = a->d, ld = attention_ld(d);
  x->q = attention_take(&scratch, d * ATTENTION_LD);
  x->k = attention_take(&scratch, ATTENTION_K * ld);
  x->v = attention_take(&scratch, ATTENTION_K * ld);
  x->s = attention_take(&scratch, ATTENTION_K * ATTENTION_LD);
  x->o = attention_take(&scratch, ATTENTION_Q * ld);
  x->state.max = attention_take(&scratch, ATTENTION_Q);
  x->state.sum = attention_take(&scratch, ATTENTION_Q);
  x->state.factor = attention_take(&scratch, ATTENTION_Q);
  KER(attention_load)(x->o, &a->q, x->b, x->tile.i0, x->h, x->tile.nq, d);
  attention_scale_queries(x, d, (float)(a->scale * ATTENTION_LOG2E));
  memset(x->o, 0, (size_t)(kiln__round_up(x->tile.nq, ATTENTION_MR) * ld) * sizeof(float));
  for (int64_t i = 0; i < kiln__round_up(x->tile.nq, KILN_VL); i++) {
    x->state.max[i] = -INFINITY;
    x->state.sum[i] = 0;
  }
}

static void KER(attention_forward_keys)(const kiln__attention_args *a, attention_forward *x) {
  attention_tile *t = &x->tile;
  int64_t hkv = x->h / a->group;
  if (!attention_look(a, x->b, t)) return;
  if (x->few) {
    KER(attention_query_tile)(x, KER(attention_row)(&a->k, x->b, t->j0, hkv), a->k.t,
                              KER(attention_row)(&a->v, x->b, t->j0, hkv), a->v.t, a->d);
    return;
  }
  KER(attention_load)(x->k, &a->k, x->b, t->j0, hkv, t->nk, a->d);
  attention_scores(x->s, x->k, x->q, t->queries, t->nk, a->d,
                   KER(attention_ahead)(&a->v, x->b, t->j0, hkv, t->nk, a->tk, a->d));
  attention_exponentials(x->s, &x->state, t);
  attention_rescale(x->o, x->state.factor, t->nq, a->d);
  KER(attention_load)(x->v, &a->v, x->b, t->j0, hkv, t->nk, a->d);
  attention_by_column(x->o, x->s, x->v, t->keys, t->nq, a->d,
                      KER(attention_ahead)(&a->k, x->b, t->j0 + ATTENTION_K, hkv, ATTENTION_K, a->tk, a->d));
}

// o = o / sum and lse of query i of the block.
static void KER(attention_finish_query)(const kiln__attention_args *a, const attention_forward *x, int64_t i) {
  kiln__span keys = kiln__visible(a, x->b, x->tile.i0 + i);
  bool sees = keys.begin < keys.end;
  float sum = x->state.sum[i];
  ELEMENT *out = KER(attention_row)(&a->o, x->b, x->tile.i0 + i, x->h);
  const float *o = x->o + i * attention_ld(a->d);
  for (int64_t c = 0; c < a->d; c += KILN_VL) vf_write(out + c, sees ? vf_load(o + c) / sum : vf_set(0), a->d - c);
  if (!a->lse.data) return;
  float *lse = kiln__heads_row(&a->lse, x->b, x->tile.i0 + i, x->h, sizeof(float));
  *lse = sees ? x->state.max[i] * ATTENTION_LN2 + logf(sum) : -INFINITY;
}

static void KER(attention_fwd)(const kiln__attention_args *a, int64_t b, int64_t h, int64_t block, void *scratch) {
  attention_forward x = {.b = b, .h = h, .tile.i0 = block * ATTENTION_Q};
  attention_tile *t = &x.tile;
  t->nq = kiln__min(ATTENTION_Q, a->tq - t->i0);
  x.few = attention_few_queries(t->nq, a->d);
  KER(attention_begin_forward)(a, &x, scratch);
  int64_t end = kiln__visible(a, b, t->i0 + t->nq - 1).end;
  for (t->j0 = kiln__visible(a, b, t->i0).begin; t->j0 < end; t->j0 += ATTENTION_K) {
    t->nk = kiln__min(ATTENTION_K, end - t->j0);
    KER(attention_forward_keys)(a, &x);
  }
  for (int64_t i = 0; i < t->nq; i++) KER(attention_finish_query)(a, &x, i);
}
