// Gradients of N of each four weights of a row; see sparse/kernels.h. Vectors run along the rows of W, each lane of which
// picks its own of four steps of x. (A product made so was slower than one by panels.)

#if VF_PICKS
// Groups of steps, with `kept` places each, six or fewer in all, beside one vector of rows.
VEC void sparse_groups_gradient_tile(float *gradients, const int32_t *places, const float *x, int64_t ld,
                                     const float *dy, int64_t rows, int groups, int kept) {
  vf sum[6];
  vi place[6];
  for (int p = 0; p < groups * kept; p++) {
    sum[p] = vf_load(gradients + p * KILN_SPARSE_WIDE);
    memcpy(&place[p], places + p * KILN_SPARSE_WIDE, sizeof place[p]);
  }
  for (int64_t m = 0; m < rows; m++) {
    vf line = vf_load(dy + m * KILN_SPARSE_WIDE);
    for (int g = 0; g < groups; g++) {
      for (int s = 0; s < kept; s++) {
        int p = g * kept + s;
        sum[p] = vf_fma(vf_pick(x + m * ld + 4 * g, place[p]), line, sum[p]);
      }
    }
  }
  for (int p = 0; p < groups * kept; p++) vf_store(gradients + p * KILN_SPARSE_WIDE, sum[p]);
}

// A slab of x, `groups` groups wide, with all vectors of KILN_SPARSE_WIDE rows.
static void sparse_gradient_groups(float *gradients, const int32_t *places, const float *x, int64_t ld, const float *dy,
                                   int64_t rows, int64_t groups, int kept) {
  int most = 6 / kept;
  for (int64_t g = 0; g < groups;) {
    int64_t count = kiln__min(most, groups - g), first = g * kept * KILN_SPARSE_WIDE;
    for (int j = 0; j < KILN_SPARSE_WIDE; j += KILN_VL) {
      float *to = gradients + first + j;
      const int32_t *at = places + first + j;
      if (kept == 2 && count == 3) sparse_groups_gradient_tile(to, at, x + 4 * g, ld, dy + j, rows, 3, 2);
      else if (kept == 1 && count == 6) sparse_groups_gradient_tile(to, at, x + 4 * g, ld, dy + j, rows, 6, 1);
      else if (kept == 3 && count == 2) sparse_groups_gradient_tile(to, at, x + 4 * g, ld, dy + j, rows, 2, 3);
      else sparse_groups_gradient_tile(to, at, x + 4 * g, ld, dy + j, rows, (int)count, kept);
    }
    g += count;
  }
}
#else
#define sparse_gradient_groups NULL
#endif
