// The tile kept in vector registers.

// One strip of a times one strip of b.
static void gemm_tile(const float *a, const float *b, int64_t units, const gemm_plain_end *end) {
  vf sum[KILN_GEMM_MR][KILN_GEMM_NV];
  GEMM_UNROLL
  for (int i = 0; i < KILN_GEMM_MR; i++) {
    GEMM_UNROLL
    for (int j = 0; j < KILN_GEMM_NV; j++) sum[i][j] = vf_set(0);
  }
  _Pragma("clang loop unroll_count(4)")
  for (int64_t x = 0; x < units; x++) {
    vf line[KILN_GEMM_NV];
    GEMM_UNROLL
    for (int j = 0; j < KILN_GEMM_NV; j++) line[j] = vf_load(b + x * KILN_GEMM_NR + j * KILN_VL);
    GEMM_UNROLL
    for (int i = 0; i < KILN_GEMM_MR; i++) {
      vf value = vf_set(a[x * KILN_GEMM_MR + i]);
      GEMM_UNROLL
      for (int j = 0; j < KILN_GEMM_NV; j++) sum[i][j] = GEMM_MADD(value, line[j], sum[i][j]);
    }
  }
  GEMM_UNROLL
  for (int i = 0; i < KILN_GEMM_MR; i++) {
    GEMM_UNROLL
    for (int j = 0; j < KILN_GEMM_NV; j++) gemm_end_vector(end, i, j * KILN_VL, sum[i][j]);
  }
}

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
