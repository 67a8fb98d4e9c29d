// The forward of attention for a block of queries, which goes along the keys once.

static void KER(attention_begin_forward)(const kiln__attention_args *a, attention_forward *x, float *scratch) {
  int64_t d = a->d, ld = attention_ld(d), n = x->block.end - x->block.begin;
  x->k = attention_take(&scratch, ATTENTION_ROWS * ld);
  x->v = attention_take(&scratch, ATTENTION_ROWS * ld);
  x->s = attention_take(&scratch, ATTENTION_ROWS * ATTENTION_COLUMNS);
  x->o = attention_take(&scratch, ATTENTION_COLUMNS * ld);
  x->q = attention_take(&scratch, ATTENTION_COLUMNS * ld);
  x->state.max = attention_take(&scratch, ATTENTION_COLUMNS);
  x->state.sum = attention_take(&scratch, ATTENTION_COLUMNS);
  x->state.factor = attention_take(&scratch, ATTENTION_COLUMNS);
  KER(attention_load)(x->o, &a->q, x->b, x->block.begin, x->h, n, d);
  attention_transpose(x->q, x->o, n, d, (float)(a->scale * ATTENTION_LOG2E));
  memset(x->o, 0, (size_t)(kiln__round_up(n, ATTENTION_MR) * ld) * sizeof(float));
  for (int64_t i = 0; i < kiln__round_up(n, KILN_VL); i++) {
    x->state.max[i] = -INFINITY;
    x->state.sum[i] = 0;
  }
}

// The tile's part of o for its strip of queries, which begins `at` in the block. The last one fetches the next keys and
// values.
static void KER(attention_forward_strip)(const kiln__attention_args *a, const attention_forward *x, int64_t at) {
  const attention_tile *t = &x->tile;
  float *o = x->o + at * attention_ld(a->d);
  int64_t next = t->j0 + t->nk, hkv = x->h / a->group;
  attention_ahead keys = {0}, values = {0};
  if (t->i0 + t->nq == x->block.end) {
    keys = KER(attention_ahead)(&a->k, x->b, next, hkv, a->tk, a->d, t->nk);
    values = KER(attention_ahead)(&a->v, x->b, next, hkv, a->tk, a->d, t->nq);
  }
  attention_softmax state = {x->state.max + at, x->state.sum + at, x->state.factor + at};
  attention_scores(x->s, x->k, x->q + at, t->queries, t->nk, a->d, keys);
  attention_exponentials(x->s, &state, t);
  attention_rescale(o, state.factor, t->nq, a->d);
  attention_by_column(o, x->s, x->v, t->keys, t->nq, a->d, values);
}

static void KER(attention_forward_keys)(const kiln__attention_args *a, attention_forward *x) {
  attention_tile *t = &x->tile;
  int64_t hkv = x->h / a->group;
  KER(attention_load)(x->k, &a->k, x->b, t->j0, hkv, t->nk, a->d);
  KER(attention_load)(x->v, &a->v, x->b, t->j0, hkv, t->nk, a->d);
  for (t->i0 = x->block.begin; t->i0 < x->block.end; t->i0 += ATTENTION_STRIP) {
    t->nq = kiln__min(ATTENTION_STRIP, x->block.end - t->i0);
    if (attention_look(a, x->b, t)) KER(attention_forward_strip)(a, x, t->i0 - x->block.begin);
  }
}

// o = o / sum and lse of query i, the n-th of the block.
static void KER(attention_finish)(const kiln__attention_args *a, const attention_forward *x, int64_t i, int64_t n) {
  bool sees = attention_sees(a, x->b, i);
  float sum = x->state.sum[n];
  ELEMENT *out = KER(attention_row)(&a->o, x->b, i, x->h);
  KER(attention_fetch_row)(&a->o, x->b, i, x->block.end, x->h, a->d, true);
  const float *o = x->o + n * attention_ld(a->d);
  for (int64_t c = 0; c < a->d; c += KILN_VL) vf_write(out + c, sees ? vf_load(o + c) / sum : vf_set(0), a->d - c);
  attention_put_lse(a, x->b, i, x->h, x->state.max[n], sum);
}

static void KER(attention_fwd)(const kiln__attention_args *a, int64_t b, int64_t h, kiln__span queries, void *scratch) {
  attention_forward x = {.b = b, .h = h, .block = queries};
  attention_tile *t = &x.tile;
  KER(attention_begin_forward)(a, &x, scratch);
  int64_t end = kiln__visible(a, b, queries.end - 1).end;
  for (t->j0 = kiln__visible(a, b, queries.begin).begin; t->j0 < end; t->j0 += ATTENTION_ROWS) {
    t->nk = kiln__min(ATTENTION_ROWS, end - t->j0);
    KER(attention_forward_keys)(a, &x);
  }
  for (int64_t i = queries.begin; i < queries.end; i++) KER(attention_finish)(a, &x, i, i - queries.begin);
}
