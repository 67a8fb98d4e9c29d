// The sums over k of packed rows of a and columns of b.

// sums [nr] = one strip of b, summed over k.
static void gemm_sum_strip_of_b(const float *b, int64_t units, float *sums) {
  for (int j = 0; j < KILN_GEMM_NR; j += KILN_VL) {
    vf sum = vf_set(0);
    for (int64_t x = 0; x < units; x++) sum = GEMM_ADD(vf_load(b + x * KILN_GEMM_NR + j), sum);
    vf_store(sums + j, sum);
  }
}

VEC void gemm_sum_strips(void (*sum_strip)(const float *, int64_t, float *), int width, float *sums,
                         const float *strips, int64_t extent, int64_t k, float alpha, bool accumulate) {
  float strip[KILN_GEMM_MR + KILN_GEMM_NR];
  int64_t units = kiln__round_up(k, GEMM_STEPS) / GEMM_UNIT;
  for (int64_t i = 0; i < extent; i++) {
    if (i % width == 0) sum_strip(strips + i * units, units, strip);
    sums[i] = alpha * strip[i % width] + (accumulate ? sums[i] : 0);
  }
}

static void gemm_sum_a(float *sums, const void *strips, int64_t extent, int64_t k, float alpha, bool accumulate) {
  gemm_sum_strips(gemm_sum_strip_of_a, KILN_GEMM_MR, sums, strips, extent, k, alpha, accumulate);
}

static void gemm_sum_b(float *sums, const void *strips, int64_t extent, int64_t k, float alpha, bool accumulate) {
  gemm_sum_strips(gemm_sum_strip_of_b, KILN_GEMM_NR, sums, strips, extent, k, alpha, accumulate);
}
