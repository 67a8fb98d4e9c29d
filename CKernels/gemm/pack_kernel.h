// Packing: strips of rows of a (or of columns of b), in units, in the order in which the tile reads them.

#define GEMM_PACK_STEPS 4
#define GEMM_PACK_AHEAD 16
#define GEMM_PACK_LINE 16

// `rows` of the strip's `width` are there, and k steps of its `units`.
VEC void KER(gemm_pack_any)(float *dst, int width, const ELEMENT *x, int64_t across, int64_t along, int64_t rows,
                            int64_t units, int64_t k) {
  for (int64_t j = 0; j < units; j++) {
    const ELEMENT *from = x + j * GEMM_UNIT * along;
    for (int i = 0; i < width; i++) {
      dst[j * width + i] = i < rows ? GEMM_READ(from + i * across, along, k - j * GEMM_UNIT) : 0;
    }
  }
}

// Stride 1 from row to row: each unit is copied. A few of all strips at a time, so that the lines of x are used
// up while they are in the first cache; too few of them follow each other for the hardware to fetch them ahead.
VEC void KER(gemm_pack_copied)(float *dst, int width, const ELEMENT *x, int64_t along, int64_t strips, int64_t units,
                               int64_t k) {
  for (int64_t begin = 0; begin < units; begin += GEMM_PACK_STEPS) {
    int64_t end = kiln__min(begin + GEMM_PACK_STEPS, units);
    for (int64_t s = 0; s < strips; s++) {
      for (int64_t j = begin; j < end; j++) {
        const ELEMENT *from = x + j * GEMM_UNIT * along + s * width;
        for (int step = 0; step < GEMM_UNIT; step++) {
          __builtin_prefetch(from + (GEMM_PACK_AHEAD * GEMM_UNIT + step) * along);
        }
        for (int i = 0; i < width; i++) {
          dst[(s * units + j) * width + i] = GEMM_READ(from + i, along, k - j * GEMM_UNIT);
        }
      }
    }
  }
}

// Stride 1 along k: squares of 4 x 4, a line of x at a time. Where 4 does not divide the width, the last one overlaps
// its neighbour.
VEC void KER(gemm_pack_transposed)(float *dst, int width, const ELEMENT *x, int64_t across, int64_t units, int64_t k) {
  int64_t j = 0;
  for (; (j + GEMM_PACK_LINE) * GEMM_UNIT <= k; j += GEMM_PACK_LINE) {
    for (int i = 0; i < width; i += 4) {
      int row = i + 4 <= width ? i : width - 4;
      GEMM_UNROLL
      for (int step = 0; step < GEMM_PACK_LINE; step += 4) {
        const ELEMENT *from = x + row * across + (j + step) * GEMM_UNIT;
        v4_store_transposed(dst + (j + step) * width + row, width, GEMM_READ4(from), GEMM_READ4(from + across),
                            GEMM_READ4(from + 2 * across), GEMM_READ4(from + 3 * across));
      }
    }
  }
  x += j * GEMM_UNIT;
  KER(gemm_pack_any)(dst + j * width, width, x, across, 1, width, units - j, k - j * GEMM_UNIT);
}

VEC void KER(gemm_pack_strips)(float *dst, int width, const ELEMENT *x, int64_t across, int64_t along, int64_t extent,
                               int64_t k, int64_t strips) {
  int64_t units = kiln__round_up(k, GEMM_STEPS) / GEMM_UNIT;
  int64_t whole = kiln__min(strips, extent / width), s = 0;
  if (across == 1) {
    KER(gemm_pack_copied)(dst, width, x, along, whole, units, k);
    s = whole;
  }
  for (; s < strips; s++) {
    float *strip = dst + s * width * units;
    const ELEMENT *from = x + s * width * across;
    if (s < whole && along == 1) KER(gemm_pack_transposed)(strip, width, from, across, units, k);
    else KER(gemm_pack_any)(strip, width, from, across, along, kiln__min(width, extent - s * width), units, k);
  }
}

static inline void KER(gemm_pack_a)(void *dst, const void *x, int64_t across, int64_t along, int64_t extent, int64_t k,
                                    int64_t strips) {
  KER(gemm_pack_strips)(dst, KILN_GEMM_MR, x, across, along, extent, k, strips);
}

static void KER(gemm_pack_b)(void *dst, const void *x, int64_t across, int64_t along, int64_t extent, int64_t k,
                             int64_t strips) {
  KER(gemm_pack_strips)(dst, KILN_GEMM_NR, x, across, along, extent, k, strips);
}
