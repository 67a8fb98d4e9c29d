// The tile kept in vector registers.

// One strip of a times one strip of b.
static void GEMM(gemm_tile)(const float *a, const float *b, int64_t units, const gemm_plain_end *end) {
  vf sum[KILN_GEMM_MR][KILN_GEMM_NV];
  GEMM_UNROLL
  for (int i = 0; i < KILN_GEMM_MR; i++) {
    GEMM_UNROLL
    for (int j = 0; j < KILN_GEMM_NV; j++) sum[i][j] = GEMM_START(a, units, i);
  }
  GEMM_UNROLL_STEPS
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
    for (int j = 0; j < KILN_GEMM_NV; j++) gemm_end_vector(end, i, j * KILN_VL, GEMM_TOTAL(sum[i][j]));
  }
}
