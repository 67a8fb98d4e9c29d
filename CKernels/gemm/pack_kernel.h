// Packing: strips of rows of a (or of columns of b) in the order in which the tile reads them, widened to fp32.

// dst[j * width + i] = x[i * across + j], i and j in 0 ..< 4
VEC void KER(gemm_pack_transpose)(float *dst, int width, const ELEMENT *x, int64_t across) {
  v4 r0 = v4_load(x), r1 = v4_load(x + across), r2 = v4_load(x + 2 * across), r3 = v4_load(x + 3 * across);
  v4 low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
  v4 low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5), high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  v4_store(dst, __builtin_shufflevector(low01, low23, 0, 1, 4, 5));
  v4_store(dst + width, __builtin_shufflevector(low01, low23, 2, 3, 6, 7));
  v4_store(dst + 2 * width, __builtin_shufflevector(high01, high23, 0, 1, 4, 5));
  v4_store(dst + 3 * width, __builtin_shufflevector(high01, high23, 2, 3, 6, 7));
}

// `rows` of the strip's `width` are there.
VEC void KER(gemm_pack_any)(float *dst, int width, const ELEMENT *x, int64_t across, int64_t along, int64_t rows, int64_t k) {
  for (int64_t j = 0; j < k; j++) {
    for (int i = 0; i < width; i++) dst[j * width + i] = i < rows ? get(x + i * across + j * along) : 0;
  }
}

// Stride 1 from row to row: each step is a copy.
VEC void KER(gemm_pack_copy)(float *dst, int width, const ELEMENT *x, int64_t along, int64_t k) {
  for (int64_t j = 0; j < k; j++) {
    for (int i = 0; i < width; i++) dst[j * width + i] = get(x + j * along + i);
  }
}

// Stride 1 along k: squares of 4 x 4; where 4 does not divide the width, the last one overlaps its neighbour.
VEC void KER(gemm_pack_transposed)(float *dst, int width, const ELEMENT *x, int64_t across, int64_t k) {
  int64_t j = 0;
  for (; j + 4 <= k; j += 4) {
    for (int i = 0; i < width; i += 4) {
      int row = i + 4 <= width ? i : width - 4;
      KER(gemm_pack_transpose)(dst + j * width + row, width, x + row * across + j, across);
    }
  }
  KER(gemm_pack_any)(dst + j * width, width, x + j, across, 1, width, k - j);
}

VEC void KER(gemm_pack_strips)(float *dst, int width, const ELEMENT *x, int64_t across, int64_t along, int64_t extent,
                          int64_t k, int64_t begin, int64_t end) {
  for (int64_t s = begin; s < end; s++) {
    float *strip = dst + s * width * k;
    const ELEMENT *from = x + s * width * across;
    int64_t rows = extent - s * width;
    if (rows < width) KER(gemm_pack_any)(strip, width, from, across, along, rows, k);
    else if (across == 1) KER(gemm_pack_copy)(strip, width, from, along, k);
    else if (along == 1) KER(gemm_pack_transposed)(strip, width, from, across, k);
    else KER(gemm_pack_any)(strip, width, from, across, along, width, k);
  }
}

static void KER(gemm_pack_a)(void *dst, const void *x, int64_t across, int64_t along, int64_t extent, int64_t k,
                        int64_t begin, int64_t end) {
  KER(gemm_pack_strips)(dst, KILN_GEMM_MR, x, across, along, extent, k, begin, end);
}

static void KER(gemm_pack_b)(void *dst, const void *x, int64_t across, int64_t along, int64_t extent, int64_t k,
                        int64_t begin, int64_t end) {
  KER(gemm_pack_strips)(dst, KILN_GEMM_NR, x, across, along, extent, k, begin, end);
}
