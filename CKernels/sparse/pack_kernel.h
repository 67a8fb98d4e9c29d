// The panels of sparse products, from each type that activations are stored in.

static void KER(sparse_pack)(float *panel, const void *x, int64_t stride, int64_t rows, int64_t cols, int64_t depth) {
  KER(gemm_pack_strips)(panel, SPARSE_WIDTH, x, stride, 1, rows, cols, 1);
  if (depth > cols) memset(panel + cols * SPARSE_WIDTH, 0, (size_t)(depth - cols) * SPARSE_WIDTH * sizeof(float));
}

static void KER(sparse_copy)(float *rows, const void *x, int64_t stride, int64_t count, int64_t cols, int64_t depth) {
  for (int64_t i = 0; i < count; i++) {
    const ELEMENT *from = (const ELEMENT *)x + i * stride;
    float *to = rows + i * depth;
    for (int64_t j = 0; j < cols; j += KILN_VL) vf_write(to + j, vf_read(from + j, cols - j), cols - j);
    memset(to + cols, 0, (size_t)(depth - cols) * sizeof *to);
  }
  int64_t whole = kiln__round_up(count, BLOCK_TILE);
  memset(rows + count * depth, 0, (size_t)((whole - count) * depth) * sizeof *rows);
}

// Row by row, each of which is read as it lies.
static void KER(sparse_cut)(float *slabs, const void *x, int64_t stride, int64_t rows, int64_t cols, int64_t width,
                            int64_t apart) {
  for (int64_t i = 0; i < rows; i++) {
    const ELEMENT *from = (const ELEMENT *)x + i * stride;
    float *to = slabs + i * width;
    for (int64_t begin = 0; begin < cols; begin += width, to += apart) {
      int64_t there = kiln__min(width, cols - begin);
      for (int64_t j = 0; j < there; j += KILN_VL) {
        vf_write(to + j, vf_read(from + begin + j, there - j), there - j);
      }
      for (int64_t j = there; j < width; j++) to[j] = 0;
    }
  }
}

static const kiln__sparse_kernels KER(sparse_kernels) = {.width = SPARSE_WIDTH, .pack = KER(sparse_pack),
                                                         .multiply = sparse_multiply, .finish = sparse_finish,
                                                         .gradient = sparse_gradient, .tile = BLOCK_TILE,
                                                         .copy = KER(sparse_copy),
                                                         .multiply_blocks = sparse_multiply_blocks,
                                                         .cut = KER(sparse_cut),
                                                         .gradient_blocks = sparse_gradient_blocks,
                                                         .gradient_groups = sparse_gradient_groups};
