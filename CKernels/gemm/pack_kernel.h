// Packing: strips of rows of a (or of columns of b) in the order in which the tile reads them.

typedef float v4 __attribute__((ext_vector_type(4)));

VEC v4 v4_load(const float *p) { v4 v; memcpy(&v, p, sizeof v); return v; }
VEC void v4_store(float *p, v4 v) { memcpy(p, &v, sizeof v); }

// dst[j * width + i] = x[i * across + j], i and j in 0 ..< 4
VEC void gemm_pack_transpose(float *dst, int width, const float *x, int64_t across) {
  v4 r0 = v4_load(x), r1 = v4_load(x + across), r2 = v4_load(x + 2 * across), r3 = v4_load(x + 3 * across);
  v4 low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
  v4 low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5), high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
  v4_store(dst, __builtin_shufflevector(low01, low23, 0, 1, 4, 5));
  v4_store(dst + width, __builtin_shufflevector(low01, low23, 2, 3, 6, 7));
  v4_store(dst + 2 * width, __builtin_shufflevector(high01, high23, 0, 1, 4, 5));
  v4_store(dst + 3 * width, __builtin_shufflevector(high01, high23, 2, 3, 6, 7));
}

// `rows` of the strip's `width` are there.
VEC void gemm_pack_any(float *dst, int width, const float *x, int64_t across, int64_t along, int64_t rows, int64_t k) {
  for (int64_t j = 0; j < k; j++) {
    for (int i = 0; i < width; i++) dst[j * width + i] = i < rows ? x[i * across + j * along] : 0;
  }
}

// Stride 1 from row to row: each step is a copy.
VEC void gemm_pack_copy(float *dst, int width, const float *x, int64_t along, int64_t k) {
  for (int64_t j = 0; j < k; j++) memcpy(dst + j * width, x + j * along, (size_t)width * sizeof(float));
}

// Stride 1 along k: squares of 4 x 4; where 4 does not divide the width, the last one overlaps its neighbour.
VEC void gemm_pack_transposed(float *dst, int width, const float *x, int64_t across, int64_t k) {
  int64_t j = 0;
  for (; j + 4 <= k; j += 4) {
    for (int i = 0; i < width; i += 4) {
      int row = i + 4 <= width ? i : width - 4;
      gemm_pack_transpose(dst + j * width + row, width, x + row * across + j, across);
    }
  }
  gemm_pack_any(dst + j * width, width, x + j, across, 1, width, k - j);
}

VEC void gemm_pack_strips(float *dst, int width, const float *x, int64_t across, int64_t along, int64_t extent,
                          int64_t k, int64_t begin, int64_t end) {
  for (int64_t s = begin; s < end; s++) {
    float *strip = dst + s * width * k;
    const float *from = x + s * width * across;
    int64_t rows = extent - s * width;
    if (rows < width) gemm_pack_any(strip, width, from, across, along, rows, k);
    else if (across == 1) gemm_pack_copy(strip, width, from, along, k);
    else if (along == 1) gemm_pack_transposed(strip, width, from, across, k);
    else gemm_pack_any(strip, width, from, across, along, width, k);
  }
}

static void gemm_pack_a(float *dst, const float *x, int64_t across, int64_t along, int64_t extent, int64_t k,
                        int64_t begin, int64_t end) {
  gemm_pack_strips(dst, KILN_GEMM_MR, x, across, along, extent, k, begin, end);
}

static void gemm_pack_b(float *dst, const float *x, int64_t across, int64_t along, int64_t extent, int64_t k,
                        int64_t begin, int64_t end) {
  gemm_pack_strips(dst, KILN_GEMM_NR, x, across, along, extent, k, begin, end);
}
