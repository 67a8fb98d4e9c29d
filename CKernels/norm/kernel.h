// Layer and RMS normalisation of rows, in vectors. A row fits the first cache, so its passes read memory once;
// the next row is fetched meanwhile.

// Mean and 1 / standard deviation of a row. The sums are of x minus the mean of the first vectors: its distance from
// the mean squared is at most c / KILN_WL variances, so the difference of squares loses few bits whatever the mean.
VEC void KER(norm_statistics)(const kiln__norm_args *a, const ELEMENT *x, float *mean, float *r) {
  int64_t c = a->c;
  float shift = a->center ? vf_sum(vw_read(x, c)) / (float)kiln__min(c, KILN_WL) : 0;
  vw sum = vw_set(0), square = vw_set(0);
  for (int64_t i = 0; i < c; i += KILN_WL) {
    vw d = (c - i >= KILN_WL ? vw_load(x + i) : vw_load_part(x + i, c - i, shift)) - shift;
    sum += d;
    square = vf_fma(d, d, square);
  }
  float distance = a->center ? vf_sum(sum) / (float)c : 0;
  float variance = vf_sum(square) / (float)c - distance * distance;
  *mean = shift + distance;
  *r = 1.0f / sqrtf((variance < 0 ? 0 : variance) + a->eps);
}

static void KER(norm_fwd)(const kiln__norm_args *a, int64_t begin, int64_t end) {
  const float *gain = a->gain, *bias = a->bias;
  ELEMENT line[KILN_STREAM_ROW / sizeof(ELEMENT)];
  for (int64_t row = begin; row < end; row++) {
    const ELEMENT *x = (const ELEMENT *)a->x + row * a->ldx;
    const ELEMENT *next = row + 1 < end ? x + a->ldx : x;
    ELEMENT *y = a->streamed ? line : (ELEMENT *)a->y + row * a->ldy;
    float mean, r;
    KER(norm_statistics)(a, x, &mean, &r);
    for (int64_t i = 0; i < a->c; i += KILN_WL) {
      int64_t n = a->c - i;
      if (n >= KILN_WL) vw_prefetch(next + i);
      vw v = (vw_read(x + i, n) - mean) * r;
      if (gain) v *= vw_read(gain + i, n);
      if (bias) v += vw_read(bias + i, n);
      vf_write(y + i, v, n);
    }
    if (a->streamed) KER(elementwise_stream)((ELEMENT *)a->y + row * a->ldy, line, a->c * (int64_t)sizeof(ELEMENT));
  }
}

// A row's sums of u = dy * gain and of u * (x - mean); adds dy * xhat to dgain and dy to dbias. Loads and stores hide
// the latency of the sums, and four vectors of each operand would not fit the registers.
VEC void KER(norm_row_sums)(const kiln__norm_args *a, const ELEMENT *x, const ELEMENT *dy, float mean, float r,
                            float *dgain, float *dbias, float *sum_u, float *sum_ux) {
  const float *gain = a->gain;
  vf su = vf_set(0), sux = vf_set(0);
  for (int64_t i = 0; i < a->c; i += KILN_VL) {
    int64_t n = a->c - i;
    vf d = vf_read(dy + i, n), centered = vf_read(x + i, n) - mean, u = gain ? d * vf_read(gain + i, n) : d;
    su += u;
    sux = vf_fma(u, centered, sux);
    if (dgain) vf_write(dgain + i, vf_fma(d * r, centered, vf_read(dgain + i, n)), n);
    if (dbias) vf_write(dbias + i, vf_read(dbias + i, n) + d, n);
  }
  *sum_u = vf_sum(su);
  *sum_ux = vf_sum(sux);
}

static void KER(norm_bwd)(const kiln__norm_args *a, void *dgain_, void *dbias_, int64_t begin, int64_t end) {
  float *dgain = dgain_, *dbias = dbias_;
  ELEMENT line[KILN_STREAM_ROW / sizeof(ELEMENT)];
  const float *gain = a->gain;
  int64_t c = a->c;
  if (dgain) memset(dgain, 0, (size_t)c * sizeof(float));
  if (dbias) memset(dbias, 0, (size_t)c * sizeof(float));
  for (int64_t row = begin; row < end; row++) {
    const ELEMENT *x = (const ELEMENT *)a->x + row * a->ldx, *dy = (const ELEMENT *)a->dy + row * a->lddy;
    const ELEMENT *next = row + 1 < end ? x + a->ldx : x, *next_dy = row + 1 < end ? dy + a->lddy : dy;
    float mean, r, sum_u, sum_ux;
    KER(norm_statistics)(a, x, &mean, &r);
    KER(norm_row_sums)(a, x, dy, mean, r, dgain, dbias, &sum_u, &sum_ux);
    if (!a->dx) continue;
    // dx = r * u - r * mean(u) - (x - mean) * r^3 * mean(u * (x - mean))
    ELEMENT *dx = a->streamed ? line : (ELEMENT *)a->dx + row * a->lddx;
    vw scale = vw_set(r), slope = vw_set(-r * (r * (r * (sum_ux / (float)c))));
    vw offset = vw_set(a->center ? -r * (sum_u / (float)c) : 0);
    for (int64_t i = 0; i < c; i += KILN_WL) {
      int64_t n = c - i;
      if (n >= KILN_WL) {
        vw_prefetch(next + i);
        vw_prefetch(next_dy + i);
      }
      vw u = vw_read(dy + i, n);
      if (gain) u *= vw_read(gain + i, n);
      vw v = vf_fma(u, scale, vf_fma(vw_read(x + i, n) - mean, slope, offset));
      vf_write(dx + i, a->accumulate_dx ? v + vw_read(dx + i, n) : v, n);
    }
    if (a->streamed) KER(elementwise_stream)((ELEMENT *)a->dx + row * a->lddx, line, c * (int64_t)sizeof(ELEMENT));
  }
}

static const kiln__norm_kernels KER(norm_kernels) = {KER(norm_fwd), KER(norm_bwd)};
