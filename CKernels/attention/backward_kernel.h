// The backward of attention. The probabilities of a tile come back from q, k and lse; a block of queries goes along the
// keys once, which gives all of its dq and its share of dk and dv.

static float KER(attention_dot)(const ELEMENT *x, const ELEMENT *y, int64_t d) {
  vf sum = vf_set(0);
  for (int64_t c = 0; c < d; c += KILN_VL) sum = vf_fma(vf_read(x + c, d - c), vf_read(y + c, d - c), sum);
  return vf_sum(sum);
}

static void KER(attention_begin_block)(const kiln__attention_args *a, attention_block *x) {
  const ELEMENT *q = KER(attention_row)(&a->q, x->b, x->i0, x->h);
  const ELEMENT *d_o = KER(attention_row)(&a->d_o, x->b, x->i0, x->h);
  KER(attention_load)(x->q, q, a->q.t, x->nq, a->d, (float)a->scale);
  KER(attention_load)(x->d_o, d_o, a->d_o.t, x->nq, a->d, 1);
  KER(attention_load_transposed)(x->q_t, q, a->q.t, x->nq, a->d, (float)a->scale);
  KER(attention_load_transposed)(x->d_o_t, d_o, a->d_o.t, x->nq, a->d, 1);
  memset(x->dq, 0, (size_t)(ATTENTION_Q * attention_ld(a->d)) * sizeof(float));
  memset(x->lse, 0, ATTENTION_Q * sizeof(float));
  memset(x->delta, 0, ATTENTION_Q * sizeof(float));
  for (int64_t i = 0; i < x->nq; i++) {
    const ELEMENT *o = KER(attention_row)(&a->o, x->b, x->i0 + i, x->h);
    x->delta[i] = KER(attention_dot)(d_o + i * a->d_o.t, o, a->d);
    x->lse[i] = *(const float *)kiln__heads_row(&a->lse, x->b, x->i0 + i, x->h, sizeof(float));
  }
}

static void KER(attention_bwd_tile)(const kiln__attention_args *a, const attention_block *x, int64_t j0, int64_t nk,
                               const kiln__attention_target *target) {
  int64_t d = a->d, nq = x->nq, hkv = x->h / a->group;
  int64_t shift = a->causal ? kiln__visible_keys(a, x->i0) - 1 - j0 : nk;
  KER(attention_load)(x->k, KER(attention_row)(&a->k, x->b, j0, hkv), a->k.t, nk, d, 1);
  KER(attention_load)(x->v, KER(attention_row)(&a->v, x->b, j0, hkv), a->v.t, nk, d, 1);
  attention_scores(x->p, x->k, x->q_t, nk, nq, d, shift);
  attention_scores(x->ds, x->v, x->d_o_t, nk, nq, d, shift);
  attention_probabilities(x, nk, shift);
  attention_by_key(x->dv, x->p, x->d_o, nk, nq, d, shift);
  attention_by_key(x->dk, x->ds, x->q, nk, nq, d, shift);
  attention_by_query(x->dq, x->ds, x->k, nk, nq, d, shift);
  attention_add((float *)target->dk + j0 * target->ldk, target->ldk, x->dk, attention_ld(d), nk, d);
  attention_add((float *)target->dv + j0 * target->ldv, target->ldv, x->dv, attention_ld(d), nk, d);
}

static void KER(attention_bwd)(const kiln__attention_args *a, int64_t b, int64_t hkv, int64_t first, int64_t step,
                          const kiln__attention_target *target, void *scratch) {
  int64_t blocks = kiln__ceil_div(a->tq, ATTENTION_Q), d = a->d;
  for (int64_t j = 0; j < a->tk; j++) {
    memset((float *)target->dk + j * target->ldk, 0, (size_t)d * sizeof(float));
    memset((float *)target->dv + j * target->ldv, 0, (size_t)d * sizeof(float));
  }
  attention_block x = attention_take_block(scratch, d);
  x.b = b;
  for (int64_t item = first; item < a->group * blocks; item += step) {
    x.h = hkv * a->group + item / blocks;
    x.i0 = item % blocks * ATTENTION_Q;
    x.nq = kiln__min(ATTENTION_Q, a->tq - x.i0);
    KER(attention_begin_block)(a, &x);
    int64_t keys = kiln__visible_keys(a, x.i0 + x.nq - 1);
    for (int64_t j0 = 0; j0 < keys; j0 += ATTENTION_K) {
      KER(attention_bwd_tile)(a, &x, j0, kiln__min(ATTENTION_K, keys - j0), target);
    }
    ELEMENT *dq = KER(attention_row)(&a->dq, b, x.i0, x.h);
    for (int64_t i = 0; i < x.nq; i++) {
      for (int64_t c = 0; c < d; c += KILN_VL) {
        vf_write(dq + i * a->dq.t + c, (float)a->scale * vf_load(x.dq + i * attention_ld(d) + c), d - c);
      }
    }
  }
}
