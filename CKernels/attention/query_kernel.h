// The forward of a few queries against many keys, as in generation: a tile would waste its lanes, so each query goes
// along the keys by itself, and reads k and v where they lie. For heads of whole vectors.

// s[j] = q . k[j, :] for n keys
static void KER(attention_query_scores)(float *s, const float *q, const ELEMENT *k, int64_t ldk, int64_t n,
                                        int64_t d) {
  for (int64_t j = 0; j < n; j++) {
    const ELEMENT *row = k + j * ldk;
    vf even = vf_set(0), odd = vf_set(0);
    int64_t c = 0;
    for (; c + KILN_VL < d; c += 2 * KILN_VL) {
      even = vf_fma(vf_load(q + c), vf_load(row + c), even);
      odd = vf_fma(vf_load(q + c + KILN_VL), vf_load(row + c + KILN_VL), odd);
    }
    if (c < d) even = vf_fma(vf_load(q + c), vf_load(row + c), even);
    s[j] = vf_sum(even + odd);
  }
}

// o[:] += sum over n keys of p[j] v[j, :], for nv vectors of columns.
VEC void KER(attention_query_columns)(float *o, const float *p, const ELEMENT *v, int64_t ldv, int64_t n, int nv) {
  vf sum[4];
  for (int i = 0; i < nv; i++) sum[i] = vf_load(o + i * KILN_VL);
  for (int64_t j = 0; j < n; j++) {
    vf weight = vf_set(p[j]);
    for (int i = 0; i < nv; i++) sum[i] = vf_fma(weight, vf_load(v + j * ldv + i * KILN_VL), sum[i]);
  }
  for (int i = 0; i < nv; i++) vf_store(o + i * KILN_VL, sum[i]);
}

static void KER(attention_query_values)(float *o, const float *p, const ELEMENT *v, int64_t ldv, int64_t n, int64_t d) {
  int64_t c = 0;
  for (; c + 4 * KILN_VL <= d; c += 4 * KILN_VL) KER(attention_query_columns)(o + c, p, v + c, ldv, n, 4);
  for (; c < d; c += KILN_VL) KER(attention_query_columns)(o + c, p, v + c, ldv, n, 1);
}

// A tile's part of o.
static void KER(attention_query_tile)(const kiln__attention_args *a, const attention_forward *x) {
  int64_t ld = attention_ld(a->d), hkv = x->h / a->group;
  for (int64_t i = 0; i < x->tile.nq; i++) {
    kiln__span keys = x->tile.keys[i];
    int64_t j = x->tile.j0 + keys.begin, n = keys.end - keys.begin;
    KER(attention_query_scores)(x->s, x->q + i * ld, KER(attention_row)(&a->k, x->b, j, hkv), a->k.t, n, a->d);
    attention_query_exponentials(x->s, &x->state, i, n);
    attention_rescale(x->o + i * ld, x->state.factor + i, 1, a->d);
    KER(attention_query_values)(x->o + i * ld, x->s, KER(attention_row)(&a->v, x->b, j, hkv), a->v.t, n, a->d);
  }
}
