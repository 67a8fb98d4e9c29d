// The backward of attention. The probabilities of a tile come back from q, k and lse; a block of keys goes along the
// queries once, which gives all of its dk and dv and its share of dq.

static float KER(attention_dot)(const ELEMENT *x, const ELEMENT *y, int64_t d) {
  vf sum = vf_set(0);
  for (int64_t c = 0; c < d; c += KILN_VL) sum = vf_fma(vf_read(x + c, d - c), vf_read(y + c, d - c), sum);
  return vf_sum(sum);
}

static void KER(attention_statistics)(const kiln__attention_args *a, const attention_backward *x) {
  for (int64_t g = 0; g < a->group; g++) {
    int64_t h = x->hkv * a->group + g;
    for (int64_t i = 0; i < a->tq; i++) {
      const ELEMENT *d_o = KER(attention_row)(&a->d_o, x->b, i, h), *o = KER(attention_row)(&a->o, x->b, i, h);
      KER(attention_fetch_row)(&a->d_o, x->b, i, a->tq, h, a->d, false);
      KER(attention_fetch_row)(&a->o, x->b, i, a->tq, h, a->d, false);
      const float *lse = kiln__heads_row(&a->lse, x->b, i, h, sizeof(float));
      x->delta[g * x->queries + i] = KER(attention_dot)(d_o, o, a->d);
      x->lse[g * x->queries + i] = *lse * (float)ATTENTION_LOG2E;
    }
  }
}

static void KER(attention_begin_keys)(const kiln__attention_args *a, const attention_backward *x) {
  const attention_tile *t = &x->tile;
  size_t bytes = (size_t)(ATTENTION_COLUMNS * attention_ld(a->d)) * sizeof(float);
  KER(attention_load)(x->k, &a->k, x->b, t->j0, x->hkv, t->nk, a->d);
  KER(attention_load)(x->v, &a->v, x->b, t->j0, x->hkv, t->nk, a->d);
  attention_transpose(x->k_t, x->k, t->nk, a->d, (float)(a->scale * ATTENTION_LOG2E));
  attention_transpose(x->v_t, x->v, t->nk, a->d, 1);
  memset(x->dk, 0, bytes);
  memset(x->dv, 0, bytes);
}

// The queries after those of head g, of the next head or the next block, for a product of n rows.
VEC attention_ahead KER(attention_next)(const kiln__attention_args *a, const attention_backward *x,
                                        const kiln__heads *queries, int64_t g, int64_t n) {
  bool same = g + 1 < a->group;
  int64_t i = x->tile.i0 + (same ? 0 : ATTENTION_ROWS), h = x->hkv * a->group + (same ? g + 1 : 0);
  return KER(attention_ahead)(queries, x->b, i, h, a->tq, a->d, n);
}

// The tile of query head g of the group.
static void KER(attention_backward_tile)(const kiln__attention_args *a, const attention_backward *x, int64_t g) {
  const attention_tile *t = &x->tile;
  int64_t h = x->hkv * a->group + g, row = g * x->queries + t->i0;
  attention_ahead none = {0}, q = KER(attention_next)(a, x, &a->q, g, t->nk);
  attention_ahead d_o = KER(attention_next)(a, x, &a->d_o, g, t->nq);
  KER(attention_load)(x->q, &a->q, x->b, t->i0, h, t->nq, a->d);
  KER(attention_load)(x->d_o, &a->d_o, x->b, t->i0, h, t->nq, a->d);
  attention_scores(x->p, x->q, x->k_t, t->keys, t->nq, a->d, none);
  attention_scores(x->ds, x->d_o, x->v_t, t->keys, t->nq, a->d, none);
  attention_probabilities(x->p, x->ds, x->lse + row, x->delta + row, t);
  attention_by_column(x->dv, x->p, x->d_o, t->queries, t->nk, a->d, none);
  attention_by_column(x->dk, x->ds, x->q, t->queries, t->nk, a->d, q);
  attention_by_row(x->dq + row * attention_ld(a->d), x->ds, x->k, t->keys, t->nq, a->d, d_o);
}

static void KER(attention_bwd)(const kiln__attention_args *a, int64_t b, int64_t hkv, int64_t first, int64_t step,
                               void *sums, void *scratch) {
  attention_backward x = attention_take_backward(a, scratch);
  attention_tile *t = &x.tile;
  x.b = b;
  x.hkv = hkv;
  x.dq = sums;
  memset(sums, 0, attention_sums(a));
  KER(attention_statistics)(a, &x);
  for (t->j0 = first * ATTENTION_COLUMNS; t->j0 < a->tk; t->j0 += step * ATTENTION_COLUMNS) {
    t->nk = kiln__min(ATTENTION_COLUMNS, a->tk - t->j0);
    KER(attention_begin_keys)(a, &x);
    for (t->i0 = 0; t->i0 < a->tq; t->i0 += ATTENTION_ROWS) {
      t->nq = kiln__min(ATTENTION_ROWS, a->tq - t->i0);
      if (!attention_look(a, b, t)) continue;
      for (int64_t g = 0; g < a->group; g++) KER(attention_backward_tile)(a, &x, g);
    }
    KER(attention_store)(&a->dk, b, t->j0, hkv, x.dk, t->nk, a->d, (float)a->scale);
    KER(attention_store)(&a->dv, b, t->j0, hkv, x.dv, t->nk, a->d, 1);
  }
}

static void KER(attention_dq)(const kiln__attention_args *a, int64_t b, int64_t h, kiln__span queries, const void *sums,
                              int64_t parts, int64_t stride) {
  int64_t first = h % a->group * attention_padded_queries(a), ld = attention_ld(a->d);
  for (int64_t i = queries.begin; i < queries.end; i++) {
    ELEMENT *out = KER(attention_row)(&a->dq, b, i, h);
    KER(attention_fetch_row)(&a->dq, b, i, queries.end, h, a->d, true);
    for (int64_t c = 0; c < a->d; c += KILN_VL) {
      vf total = vf_set(0);
      for (int64_t part = 0; part < parts; part++) {
        const float *sum = (const void *)((const char *)sums + part * stride);
        total = total + vf_load(sum + (first + i) * ld + c);
      }
      vf_write(out + c, (float)a->scale * total, a->d - c);
    }
  }
}
