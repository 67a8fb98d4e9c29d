// Rotary position embedding, vectors of planes at a time.

static void KER(rope_rotate)(const kiln__rope_args *a, int64_t begin, int64_t end) {
  for (int64_t row = begin; row < end; row++) {
    int64_t b = row / a->t, t = row % a->t;
    const float *cos = (const float *)a->cos + t * a->half, *sin = (const float *)a->sin + t * a->half;
    for (int64_t h = 0; h < a->h; h++) {
      const ELEMENT *x = (const ELEMENT *)a->x + b * a->x_b + t * a->x_t + h * a->x_h;
      ELEMENT *y = (ELEMENT *)a->y + b * a->y_b + t * a->y_t + h * a->y_h;
      for (int64_t i = 0; i < a->half; i += KILN_VL) {
        int64_t n = a->half - i;
        vf lower = vf_read(x + i, n), upper = vf_read(x + i + a->half, n);
        vf c = vf_read(cos + i, n), s = vf_read(sin + i, n);
        vf_write(y + i, vf_fma(lower, c, -(upper * s)), n);
        vf_write(y + i + a->half, vf_fma(upper, c, lower * s), n);
      }
    }
  }
}

static const kiln__rope_kernels KER(rope_kernels) = {KER(rope_rotate)};
