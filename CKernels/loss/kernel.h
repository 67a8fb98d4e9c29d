// Softmax cross-entropy of rows, in vectors. A row of 50257 logits stays in the second cache between its passes. A NaN
// among the logits need not survive the maximum: it makes the sum NaN, and with it the whole row.

VEC float loss_max(const float *x, int64_t v) {
  vf max = vf_set(-INFINITY);
  int64_t i = 0;
  for (; i + KILN_VL <= v; i += KILN_VL) max = vf_max(max, vf_load(x + i));
  if (i < v) max = vf_max(max, vf_load_part(x + i, v - i, -INFINITY));
  return vf_max_lane(max);
}

// The sum of e^(x - max); the terms themselves are kept in `terms` unless it is NULL, which may be x.
VEC float loss_exp_sum(float *terms, const float *x, float max, int64_t v) {
  vf sum = vf_set(0);
  for (int64_t i = 0; i < v; i += KILN_VL) {
    int64_t n = v - i;
    vf e = vf_exp((n >= KILN_VL ? vf_load(x + i) : vf_load_part(x + i, n, -INFINITY)) - max);
    sum += e;
    if (terms) vf_write(terms + i, e, n);
  }
  return vf_sum(sum);
}

static float loss_row(const kiln__loss_args *a, float *d, const float *x, int32_t target) {
  float chosen = x[target], max = loss_max(x, a->v);
  float sum = d ? loss_exp_sum(d, x, max, a->v) : loss_exp_sum(NULL, x, max, a->v);
  if (d) {
    float factor = a->scale / sum;
    for (int64_t i = 0; i < a->v; i += KILN_VL) vf_write(d + i, vf_read(d + i, a->v - i) * factor, a->v - i);
    d[target] -= a->scale;
  }
  return logf(sum) + (max - chosen);
}

static void loss_cross_entropy(const kiln__loss_args *a, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const float *x = (const float *)a->logits + row * a->ldlogits;
    float *d = a->dlogits ? (float *)a->dlogits + row * a->lddlogits : NULL;
    bool ignored = a->targets[row] == a->ignore;
    float loss = ignored ? 0 : loss_row(a, d, x, a->targets[row]);
    if (ignored && d) memset(d, 0, (size_t)a->v * sizeof(float));
    if (a->losses) ((float *)a->losses)[row] = loss;
    a->terms[row] = loss;
  }
}

static const kiln__loss_kernels loss_kernels = {loss_cross_entropy};
