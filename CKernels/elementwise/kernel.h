// Sums in vectors.

static void KER(elementwise_add)(void *y_, const void *a_, const void *b_, int64_t n) {
  ELEMENT *y = y_;
  const ELEMENT *a = a_, *b = b_;
  for (int64_t i = 0; i < n; i += KILN_WL) vf_write(y + i, vw_read(a + i, n - i) + vw_read(b + i, n - i), n - i);
}

// Row by row, since neighbouring columns share a cache line; `out`, a strip, stays in the first cache.
static void KER(elementwise_sum_rows)(void *out_, const void *x_, int64_t rows, int64_t cols, int64_t ldx,
                                      bool accumulate) {
  float *out = out_;
  const ELEMENT *x = x_;
  if (!accumulate) memset(out, 0, (size_t)cols * sizeof(float));
  for (int64_t row = 0; row < rows; row++, x += ldx) {
    for (int64_t i = 0; i < cols; i += KILN_WL) {
      if (row + 8 < rows && i + KILN_WL <= cols) vw_prefetch(x + 8 * ldx + i);
      vf_write(out + i, vw_read(out + i, cols - i) + vw_read(x + i, cols - i), cols - i);
    }
  }
}

typedef double elementwise_vd __attribute__((ext_vector_type(KILN_VL)));

VEC void KER(elementwise_add_squares)(elementwise_vd *sum, vf x) {
  elementwise_vd wide = __builtin_convertvector(x, elementwise_vd);
  *sum += wide * wide;
}

// Two sums take turns, to hide the latency of the addition.
static double KER(elementwise_sum_squares)(const void *x_, int64_t n) {
  const ELEMENT *x = x_;
  elementwise_vd even = (elementwise_vd)(0.0), odd = even;
  int64_t i = 0;
  for (; i + 2 * KILN_VL <= n; i += 2 * KILN_VL) {
    KER(elementwise_add_squares)(&even, vf_load(x + i));
    KER(elementwise_add_squares)(&odd, vf_load(x + i + KILN_VL));
  }
  for (; i < n; i += KILN_VL) KER(elementwise_add_squares)(&even, vf_read(x + i, n - i));
  even += odd;
  double sum = 0;
  for (int lane = 0; lane < KILN_VL; lane++) sum += even[lane];
  return sum;
}

static void KER(elementwise_stream)(void *y_, const void *x_, int64_t bytes) {
  char *y = y_;
  const char *x = x_;
  int64_t i = kiln__min(bytes, -(intptr_t)y & (intptr_t)(sizeof(vf) - 1));
  memcpy(y, x, (size_t)i);
  for (; i + (int64_t)sizeof(vf) <= bytes; i += (int64_t)sizeof(vf)) {
    __builtin_nontemporal_store(vf_load((const float *)(x + i)), (vf *)(y + i));
  }
  memcpy(y + i, x + i, (size_t)(bytes - i));
}

static const kiln__elementwise_kernels KER(elementwise_kernels) = {
    KER(elementwise_add), KER(elementwise_sum_rows), KER(elementwise_sum_squares), KER(elementwise_stream)};
