// The sums over k of packed rows of a, where a unit of all rows of the strip follows the other.

// sums [mr] = one strip of a, summed over k. KILN_VL units of each row are KILN_GEMM_MR vectors, in which element e
// belongs to row e % KILN_GEMM_MR.
static void gemm_sum_strip_of_a(const float *a, int64_t units, float *sums) {
  vf sum[KILN_GEMM_MR];
  float lanes[KILN_GEMM_MR * KILN_VL];
  GEMM_UNROLL
  for (int v = 0; v < KILN_GEMM_MR; v++) sum[v] = vf_set(0);
  for (int64_t left = units * KILN_GEMM_MR; left > 0; left -= KILN_VL * KILN_GEMM_MR, a += KILN_VL * KILN_GEMM_MR) {
    GEMM_UNROLL
    for (int v = 0; v < KILN_GEMM_MR; v++) {
      int64_t n = left - v * KILN_VL;
      if (n > 0) sum[v] = GEMM_ADD(vf_read(a + v * KILN_VL, n), sum[v]);
    }
  }
  GEMM_UNROLL
  for (int v = 0; v < KILN_GEMM_MR; v++) vf_store(lanes + v * KILN_VL, sum[v]);
  for (int i = 0; i < KILN_GEMM_MR; i++) sums[i] = 0;
  for (int e = 0; e < KILN_GEMM_MR * KILN_VL; e++) sums[e % KILN_GEMM_MR] += lanes[e];
}
