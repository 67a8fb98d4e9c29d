// Softmax cross-entropy of rows, in vectors. A row of 50257 logits stays in the second cache between its passes, a row
// of a panel in the first. A NaN among the logits need not survive the maximum: it makes the sum NaN, and with it the
// whole row.

// n >= 1 logits from x[i] on, which are fp32 if `wide`.
VEC vw KER(loss_read)(bool wide, const void *x, int64_t i, int64_t n) {
  if (wide) return n >= KILN_WL ? vw_load((const float *)x + i) : vw_load_part((const float *)x + i, n, -INFINITY);
  const ELEMENT *e = (const ELEMENT *)x + i;
  return n >= KILN_WL ? vw_load(e) : vw_load_part(e, n, -INFINITY);
}

VEC float KER(loss_max)(bool wide, const void *x, int64_t v) {
  vw max = vw_set(-INFINITY);
  for (int64_t i = 0; i < v; i += KILN_WL) max = vf_max(max, KER(loss_read)(wide, x, i, v - i));
  vf part[4];
  memcpy(part, &max, sizeof max);
  return vf_max_lane(vf_max(vf_max(part[0], part[1]), vf_max(part[2], part[3])));
}

// e^(x - shift) for n logits from x[i] on; 0 from 88 below the shift on.
VEC vw KER(loss_exp)(bool wide, const void *x, float shift, int64_t i, int64_t n) {
  return vf_exp_near(vf_max(vw_set(-88), KER(loss_read)(wide, x, i, n) - shift));
}

// The sum of the exponentials; they themselves are kept in `exps` unless it is NULL, which may be x.
VEC float KER(loss_exp_sum)(ELEMENT *exps, bool wide, const void *x, float shift, int64_t v) {
  vw sum = vw_set(0);
  for (int64_t i = 0; i < v; i += KILN_WL) {
    vw e = KER(loss_exp)(wide, x, shift, i, v - i);
    sum += e;
    if (exps) vf_write(exps + i, e, v - i);
  }
  return vf_sum(sum);
}

// That of one logit, with the same bits.
VEC float KER(loss_exp_of)(float below) { return vf_exp_near(vf_max(vf_set(-88), vf_set(below)))[0]; }

static float KER(loss_row)(const kiln__loss_args *a, ELEMENT *d, const ELEMENT *x, int32_t target) {
  const bool narrow = sizeof(ELEMENT) < sizeof(float);  // the terms are made again, rather than rounded twice
  float chosen = get(x + target), max = KER(loss_max)(false, x, a->v);
  bool keep = d && !narrow;
  float sum = keep ? KER(loss_exp_sum)(d, false, x, max, a->v) : KER(loss_exp_sum)(NULL, false, x, max, a->v);
  if (d) {
    float factor = a->scale / sum;
    for (int64_t i = 0; i < a->v; i += KILN_WL) {
      int64_t n = a->v - i;
      vw e = narrow ? KER(loss_exp)(false, x, max, i, n) : vw_read(d + i, n);
      vf_write(d + i, e * factor, n);
    }
    put(d + target, KER(loss_exp_of)(chosen - max) * factor - a->scale);
  }
  return logf(sum) + (max - chosen);
}

static void KER(loss_cross_entropy)(const kiln__loss_args *a, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const ELEMENT *x = (const ELEMENT *)a->logits + row * a->ldlogits;
    ELEMENT *d = a->dlogits ? (ELEMENT *)a->dlogits + row * a->lddlogits : NULL;
    bool ignored = a->targets[row] == a->ignore;
    float loss = ignored ? 0 : KER(loss_row)(a, d, x, a->targets[row]);
    if (ignored && d) memset(d, 0, (size_t)a->v * sizeof(ELEMENT));
    if (a->losses) ((float *)a->losses)[row] = loss;
    a->terms[row] = loss;
  }
}

// Moves a row's shift up, with its first n exponentials.
static void KER(loss_raise)(const kiln__loss_panel *p, int64_t row, ELEMENT *exps, int64_t n, float up) {
  float *shift = (float *)p->shift + row, factor = KER(loss_exp_of)(*shift - up);
  for (int64_t i = 0; i < n && exps; i += KILN_WL) vf_write(exps + i, factor * vw_read(exps + i, n - i), n - i);
  ((float *)p->sum)[row] *= factor;
  *shift = up;
}

static void KER(loss_panel)(const kiln__loss_panel *p, int64_t begin, int64_t end) {
  float *shift = p->shift, *sum = p->sum;
  for (int64_t row = begin; row < end; row++) {
    const float *x = (const float *)p->logits + row * p->ldlogits;
    ELEMENT *exps = p->exps ? (ELEMENT *)p->exps + row * p->ldexps : NULL;
    if (p->targets[row] == p->ignore) {
      if (exps) memset(exps + p->first, 0, (size_t)p->cols * sizeof(ELEMENT));
      continue;
    }
    int64_t target = p->targets[row] - p->first;
    if (target >= 0 && target < p->cols) ((float *)p->chosen)[row] = x[target];
    if (p->first == 0) shift[row] = -FLT_MAX, sum[row] = 0;
    float max = KER(loss_max)(true, x, p->cols);
    if (max > shift[row] + p->headroom) KER(loss_raise)(p, row, exps, p->first, max);
    sum[row] += exps ? KER(loss_exp_sum)(exps + p->first, true, x, shift[row], p->cols)
                     : KER(loss_exp_sum)(NULL, true, x, shift[row], p->cols);
  }
}

static void KER(loss_finish)(const kiln__loss_panel *p, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    float loss = 0, factor = 0;
    if (p->targets[row] != p->ignore) {
      ELEMENT *exps = p->exps ? (ELEMENT *)p->exps + row * p->ldexps : NULL;
      float *shift = (float *)p->shift + row, *sum = (float *)p->sum + row, over = logf(*sum) - p->headroom;
      if (exps && over > 0) KER(loss_raise)(p, row, exps, p->first + p->cols, *shift + over);
      float below = ((float *)p->chosen)[row] - *shift;
      loss = logf(*sum) - below;
      factor = KILN_LOSS_FACTOR / *sum;
      if (exps) put(exps + p->targets[row], KER(loss_exp_of)(below) - *sum);
    }
    ((float *)p->factor)[row] = factor;
    if (p->losses) ((float *)p->losses)[row] = loss;
    p->terms[row] = loss;
  }
}

static void KER(loss_scale)(const kiln__loss_scaling *s, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    const char *x = (const char *)s->x + row * s->ldx * (int64_t)(s->wide ? sizeof(float) : sizeof(ELEMENT));
    ELEMENT *y = (ELEMENT *)s->y + row * s->ldy;
    float factor = ((const float *)s->factor)[row];
    for (int64_t i = 0; i < s->cols; i += KILN_WL) {
      vf_write(y + i, factor * KER(loss_read)(s->wide, x, i, s->cols - i), s->cols - i);
    }
  }
}

static const kiln__loss_kernels KER(loss_kernels) = {
    KER(loss_cross_entropy), KER(loss_panel), KER(loss_finish), KER(loss_scale)};
