// Sums and conversions in vectors.

static void elementwise_add(void *y_, const void *a_, const void *b_, int64_t n) {
  float *y = y_;
  const float *a = a_, *b = b_;
  for (int64_t i = 0; i < n; i += KILN_VL) vf_write(y + i, vf_read(a + i, n - i) + vf_read(b + i, n - i), n - i);
}

// Row by row, since neighbouring columns share a cache line; `out`, a strip, stays in the first cache.
static void elementwise_sum_rows(void *out_, const void *x, int64_t rows, int64_t cols, int64_t ldx, bool accumulate) {
  float *out = out_;
  if (!accumulate) memset(out, 0, (size_t)cols * sizeof(float));
  for (int64_t row = 0; row < rows; row++) elementwise_add(out, out, (const float *)x + row * ldx, cols);
}

typedef double elementwise_vd __attribute__((ext_vector_type(KILN_VL)));

VEC void elementwise_add_squares(elementwise_vd *sum, vf x) {
  elementwise_vd wide = __builtin_convertvector(x, elementwise_vd);
  *sum += wide * wide;
}

// Two sums take turns, to hide the latency of the addition.
static double elementwise_sum_squares(const void *x_, int64_t n) {
  const float *x = x_;
  elementwise_vd even = (elementwise_vd)(0.0), odd = even;
  int64_t i = 0;
  for (; i + 2 * KILN_VL <= n; i += 2 * KILN_VL) {
    elementwise_add_squares(&even, vf_load(x + i));
    elementwise_add_squares(&odd, vf_load(x + i + KILN_VL));
  }
  for (; i < n; i += KILN_VL) elementwise_add_squares(&even, vf_read(x + i, n - i));
  even += odd;
  double sum = 0;
  for (int lane = 0; lane < KILN_VL; lane++) sum += even[lane];
  return sum;
}

static void elementwise_from_half(void *y_, const uint16_t *x, kiln_dtype half, int64_t n) {
  float *y = y_;
  if (half == KILN_BF16) {
    for (int64_t i = 0; i < n; i++) y[i] = kiln__f32_from_bf16(x[i]);
  } else {
    for (int64_t i = 0; i < n; i++) y[i] = kiln__f32_from_f16(x[i]);
  }
}

static void elementwise_to_half(uint16_t *y, const void *x_, kiln_dtype half, int64_t n) {
  const float *x = x_;
  if (half == KILN_BF16) {
    for (int64_t i = 0; i < n; i++) y[i] = kiln__bf16_from_f32(x[i]);
  } else {
    for (int64_t i = 0; i < n; i++) y[i] = kiln__f16_from_f32(x[i]);
  }
}

static const kiln__elementwise_kernels elementwise_kernels = {
    elementwise_add, elementwise_sum_rows, elementwise_sum_squares, elementwise_from_half, elementwise_to_half};
