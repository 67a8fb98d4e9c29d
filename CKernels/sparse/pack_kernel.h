// The panels of sparse products, from each type that activations are stored in.

static void KER(sparse_pack)(float *panel, const void *x, int64_t stride, int64_t rows, int64_t cols, int64_t depth) {
  KER(gemm_pack_strips)(panel, SPARSE_WIDTH, x, stride, 1, rows, cols, 1);
  if (depth > cols) memset(panel + cols * SPARSE_WIDTH, 0, (size_t)(depth - cols) * SPARSE_WIDTH * sizeof(float));
}

static const kiln__sparse_kernels KER(sparse_kernels) = {.width = SPARSE_WIDTH, .pack = KER(sparse_pack),
                                                         .multiply = sparse_multiply, .finish = sparse_finish,
                                                         .gradient = sparse_gradient};
