// The forward of a few queries against many keys, as in generation, where reading k and v is most of the work. It goes
// along a part of the keys once, for all heads, in the order in which they lie in memory; another pass merges the
// parts. For heads of whole vectors.

// s[r, 0] = q[r, :] . k for m rows
VEC void KER(attention_query_dots)(float *s, const float *q, int64_t ld, const ELEMENT *k, int64_t d, int m) {
  vf sum[4];
  for (int r = 0; r < m; r++) sum[r] = vf_set(0);
  for (int64_t c = 0; c < d; c += KILN_VL) {
    vf x = vf_load(k + c);
    for (int r = 0; r < m; r++) sum[r] = vf_fma(vf_load(q + r * ld + c), x, sum[r]);
  }
  for (int r = 0; r < m; r++) s[r * ATTENTION_RUN] = vf_sum(sum[r]);
}

// s[row, j] = q[row, :] . k[j, :] for n keys from j0 on; a row for each head and query.
static void KER(attention_query_scores)(const kiln__attention_args *a, const attention_queries *x, int64_t j0,
                                        int64_t n) {
  int64_t rows = a->group * a->tq, ld = attention_ld(a->d);
  for (int64_t j = 0; j < n; j++) {
    for (int64_t hkv = 0; hkv < x->heads; hkv++) {
      const ELEMENT *k = KER(attention_row)(&a->k, x->b, j0 + j, hkv);
      KER(attention_fetch_row)(&a->k, x->b, j0 + j, a->tk, hkv, a->d, false);
      float *s = x->s + hkv * rows * ATTENTION_RUN + j, *q = x->q + hkv * rows * ld;
      int64_t r = 0;
      for (; r + 4 <= rows; r += 4) KER(attention_query_dots)(s + r * ATTENTION_RUN, q + r * ld, ld, k, a->d, 4);
      for (; r < rows; r++) KER(attention_query_dots)(s + r * ATTENTION_RUN, q + r * ld, ld, k, a->d, 1);
    }
  }
}

// o[row, :] += sum over m keys from j on of p[row, j] v[j, :]; v is at j0 + j.
VEC void KER(attention_query_values)(const kiln__attention_args *a, const attention_queries *x, int64_t j0, int64_t j,
                                     int m) {
  int64_t rows = a->group * a->tq, ld = attention_ld(a->d);
  for (int64_t hkv = 0; hkv < x->heads; hkv++) {
    const ELEMENT *v = KER(attention_row)(&a->v, x->b, j0 + j, hkv);
    for (int i = 0; i < m; i++) KER(attention_fetch_row)(&a->v, x->b, j0 + j + i, a->tk, hkv, a->d, false);
    const float *p = x->s + hkv * rows * ATTENTION_RUN + j;
    for (int64_t c = 0; c < a->d; c += KILN_VL) {
      vf values[4];
      for (int i = 0; i < m; i++) values[i] = vf_load(v + i * a->v.t + c);
      for (int64_t r = 0; r < rows; r++) {
        float *o = x->o + (hkv * rows + r) * ld + c;
        vf sum = vf_load(o);
        for (int i = 0; i < m; i++) sum = vf_fma(vf_set(p[r * ATTENTION_RUN + i]), values[i], sum);
        vf_store(o, sum);
      }
    }
  }
}

static void KER(attention_query_begin)(const kiln__attention_args *a, const attention_queries *x) {
  int64_t d = a->d, ld = attention_ld(d);
  for (int64_t row = 0; row < x->heads * a->group * a->tq; row++) {
    const ELEMENT *q = KER(attention_row)(&a->q, x->b, row % a->tq, row / a->tq);
    float *o = x->o + row * ld;
    for (int64_t c = 0; c < d; c += KILN_VL) {
      vf_store(x->q + row * ld + c, (float)(a->scale * ATTENTION_LOG2E) * vf_load(q + c));
      vf_store(o + c, vf_set(0));
    }
    o[d] = -INFINITY;
    o[d + 1] = 0;
  }
}

static void KER(attention_query)(const kiln__attention_args *a, int64_t heads, int64_t b, int64_t part, int64_t parts,
                                 void *sums, void *scratch) {
  int64_t ld = attention_ld(a->d), rows = heads * a->group * a->tq;
  attention_queries x = {sums, scratch, (float *)scratch + rows * ld, heads, b};
  KER(attention_query_begin)(a, &x);
  kiln__span all = {kiln__visible(a, b, 0).begin, kiln__visible(a, b, a->tq - 1).end};
  int64_t size = kiln__round_up(kiln__ceil_div(all.end - all.begin, parts), ATTENTION_RUN);
  int64_t begin = all.begin + part * size, end = kiln__min(begin + size, all.end);
  for (int64_t j0 = begin; j0 < end; j0 += ATTENTION_RUN) {
    int64_t n = kiln__min(ATTENTION_RUN, end - j0), j = 0;
    KER(attention_query_scores)(a, &x, j0, n);
    attention_query_exponentials(a, &x, j0, n);
    for (; j + 4 <= n; j += 4) KER(attention_query_values)(a, &x, j0, j, 4);
    for (; j < n; j++) KER(attention_query_values)(a, &x, j0, j, 1);
  }
}

static void KER(attention_merge)(const kiln__attention_args *a, int64_t b, int64_t h, const void *sums, int64_t parts,
                                 int64_t stride) {
  int64_t d = a->d, ld = attention_ld(d);
  for (int64_t i = 0; i < a->tq; i++) {
    const float *o = (const float *)sums + (h * a->tq + i) * ld;
    int64_t step = stride / (int64_t)sizeof(float);
    float max = -INFINITY, sum = 0;
    for (int64_t part = 0; part < parts; part++) max = attention_larger(max, o[part * step + d]);
    float origin = attention_origin(vf_set(max))[0];
    for (int64_t part = 0; part < parts; part++) {
      sum += o[part * step + d + 1] * attention_exp2(vf_set(o[part * step + d] - origin))[0];
    }
    ELEMENT *out = KER(attention_row)(&a->o, b, i, h);
    for (int64_t c = 0; c < d; c += KILN_VL) {
      vf total = vf_set(0);
      for (int64_t part = 0; part < parts; part++) {
        vf factor = attention_exp2(vf_set(o[part * step + d] - origin));
        total = vf_fma(vf_load(o + part * step + c), factor, total);
      }
      vf_store(out + c, attention_sees(a, b, i) ? total / sum : vf_set(0));
    }
    attention_put_lse(a, b, i, h, max, sum);
  }
}
