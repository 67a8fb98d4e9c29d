// A product without packing: c in parts, in any order.
#include "gemm/gemm.h"

typedef struct direct_task {
  const kiln__gemm_kernels *kernels;
  const kiln__gemm_args *args;
  int64_t row_parts, col_parts;
} direct_task;

static void direct_part(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const direct_task *t = arg;
  const kiln__gemm_args *g = t->args;
  int64_t i = chunk % t->row_parts * KILN_GEMM_DIRECT_ROWS, rest = chunk / t->row_parts;
  int64_t j = rest % t->col_parts * KILN_GEMM_DIRECT_COLS;
  kiln__gemm_part p = {rest / t->col_parts, i, j, kiln__min(KILN_GEMM_DIRECT_ROWS, g->m - i),
                       kiln__min(KILN_GEMM_DIRECT_COLS, g->n - j)};
  t->kernels->direct(g, &p);
}

void kiln__gemm_direct(const kiln_context *ctx, const kiln__gemm_kernels *kernels, const kiln__gemm_args *g) {
  direct_task t = {kernels, g, kiln__ceil_div(g->m, KILN_GEMM_DIRECT_ROWS),
                   kiln__ceil_div(g->n, KILN_GEMM_DIRECT_COLS)};
  kiln__parallel_for(ctx, g->batches * t.row_parts * t.col_parts, direct_part, &t);
}
