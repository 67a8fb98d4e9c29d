// Layer and RMS normalisation of rows, in vectors. A row fits the first cache, so its three passes read memory once.

// mean and 1 / standard deviation of a row, the variance around the mean (a single pass over x^2 would cancel)
VEC void KER(norm_statistics)(const kiln__norm_args *a, const ELEMENT *x, float *mean, float *r) {
  int64_t c = a->c, i;
  vf sum = vf_set(0), square = vf_set(0);
  *mean = 0;
  if (a->center) {
    for (i = 0; i + KILN_VL <= c; i += KILN_VL) sum += vf_load(x + i);
    if (i < c) sum += vf_load_part(x + i, c - i, 0);
    *mean = vf_sum(sum) / (float)c;
  }
  vf m = vf_set(*mean);
  for (i = 0; i + KILN_VL <= c; i += KILN_VL) {
    vf d = vf_load(x + i) - m;
    square = vf_fma(d, d, square);
  }
  if (i < c) {
    vf d = vf_load_part(x + i, c - i, *mean) - m;
    square = vf_fma(d, d, square);
  }
  *r = 1.0f / sqrtf(vf_sum(square) / (float)c + a->eps);
}

static void KER(norm_fwd)(const kiln__norm_args *a, int64_t begin, int64_t end) {
  const float *gain = a->gain, *bias = a->bias;
  for (int64_t row = begin; row < end; row++) {
    const ELEMENT *x = (const ELEMENT *)a->x + row * a->ldx;
    ELEMENT *y = (ELEMENT *)a->y + row * a->ldy;
    float mean, r;
    KER(norm_statistics)(a, x, &mean, &r);
    for (int64_t i = 0; i < a->c; i += KILN_VL) {
      int64_t n = a->c - i;
      vf v = (vf_read(x + i, n) - mean) * r;
      if (gain) v = v * vf_read(gain + i, n);
      if (bias) v = v + vf_read(bias + i, n);
      vf_write(y + i, v, n);
    }
  }
}

// The vectors of a row that the backward needs at column i: u = dy * gain and xhat.
VEC void KER(norm_row_terms)(const ELEMENT *x, const ELEMENT *dy, const float *gain, float mean, float r, int64_t i, int64_t n,
                        vf *u, vf *xhat, vf *d) {
  *d = vf_read(dy + i, n);
  *u = gain ? *d * vf_read(gain + i, n) : *d;
  *xhat = n >= KILN_VL ? (vf_load(x + i) - mean) * r : (vf_load_part(x + i, n, mean) - mean) * r;
}

static void KER(norm_bwd)(const kiln__norm_args *a, void *dgain_, void *dbias_, int64_t begin, int64_t end) {
  float *dgain = dgain_, *dbias = dbias_;
  const float *gain = a->gain;
  int64_t c = a->c;
  if (dgain) memset(dgain, 0, (size_t)c * sizeof(float));
  if (dbias) memset(dbias, 0, (size_t)c * sizeof(float));
  for (int64_t row = begin; row < end; row++) {
    const ELEMENT *x = (const ELEMENT *)a->x + row * a->ldx, *dy = (const ELEMENT *)a->dy + row * a->lddy;
    float mean, r;
    KER(norm_statistics)(a, x, &mean, &r);
    vf sum_u = vf_set(0), sum_ux = vf_set(0), u, xhat, d;
    for (int64_t i = 0; i < c; i += KILN_VL) {
      int64_t n = c - i;
      KER(norm_row_terms)(x, dy, gain, mean, r, i, n, &u, &xhat, &d);
      sum_u = sum_u + u;
      sum_ux = vf_fma(u, xhat, sum_ux);
      if (dgain) vf_write(dgain + i, vf_fma(d, xhat, vf_read(dgain + i, n)), n);
      if (dbias) vf_write(dbias + i, d + vf_read(dbias + i, n), n);
    }
    if (!a->dx) continue;
    ELEMENT *dx = (ELEMENT *)a->dx + row * a->lddx;
    float mean_u = a->center ? vf_sum(sum_u) / (float)c : 0, mean_ux = vf_sum(sum_ux) / (float)c;
    for (int64_t i = 0; i < c; i += KILN_VL) {
      int64_t n = c - i;
      KER(norm_row_terms)(x, dy, gain, mean, r, i, n, &u, &xhat, &d);
      vf v = r * (u - mean_u - xhat * mean_ux);
      vf_write(dx + i, a->accumulate_dx ? v + vf_read(dx + i, n) : v, n);
    }
  }
}

static const kiln__norm_kernels KER(norm_kernels) = {KER(norm_fwd), KER(norm_bwd)};
