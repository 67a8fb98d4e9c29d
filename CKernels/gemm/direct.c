// A product without packing: c in parts, in any order.
//
// With few rows and b [k, n], a part of all of k would read short pieces of b that lie far apart, which memory serves
// badly. So k is cut as well: each thread reads whole lines of b, and the partial sums are added up in a second
// product, of a row of ones with them. All cuts follow from the shape.
#include "gemm/gemm.h"

enum {
  PARTS = 8,          // wanted of a product, so that threads end together
  LEAST_DEPTH = 32,   // of k in one part, for each row: the partial sums stay small beside b
};

typedef struct direct_task {
  const kiln__gemm_kernels *kernels;
  const kiln__gemm_args *args;
  int64_t last_k;  // of the last batch
  int64_t rows, cols, row_parts, col_parts;
} direct_task;

static void direct_part(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const direct_task *t = arg;
  kiln__gemm_args g = *t->args;
  int64_t batch = chunk % g.batches, rest = chunk / g.batches;
  int64_t i = rest % t->row_parts * t->rows, j = rest / t->row_parts * t->cols;
  if (batch == g.batches - 1) g.k = t->last_k;
  kiln__gemm_part p = {batch, i, j, kiln__min(t->rows, g.m - i), kiln__min(t->cols, g.n - j)};
  t->kernels->direct(&g, &p);
}

// Of `many` rows or columns against `few`: for `parts` parts, but no more sums than a part may have.
static int64_t extent_of_part(int64_t few, int64_t many, int64_t parts) {
  int64_t most = KILN_GEMM_DIRECT_SUMS / few / 64 * 64;
  return kiln__min(most, kiln__round_up(kiln__ceil_div(many, parts), 64));
}

static void multiply(const kiln_context *ctx, const kiln__gemm_kernels *kernels, const kiln__gemm_args *g,
                     int64_t last_k) {
  direct_task t = {.kernels = kernels, .args = g, .last_k = last_k};
  int64_t parts = kiln__ceil_div(PARTS, g->batches);
  if (kiln__gemm_has_few_rows(g)) {
    t.rows = g->m;
    t.cols = extent_of_part(t.rows, g->n, parts);
  } else {
    t.cols = kiln__min(g->n, KILN_GEMM_FEW);
    t.rows = extent_of_part(t.cols, g->m, parts);
  }
  t.row_parts = kiln__ceil_div(g->m, t.rows);
  t.col_parts = kiln__ceil_div(g->n, t.cols);
  kiln__parallel_for(ctx, g->batches * t.row_parts * t.col_parts, direct_part, &t);
}

static int64_t parts_of_k(const kiln__gemm_kernels *kernels, const kiln__gemm_args *g) {
  bool by_columns = kernels->packed && kiln__gemm_has_few_rows(g) && g->b.row != 1;
  if (!by_columns || g->batches > 1) return 1;
  return kiln__max(1, kiln__min(PARTS, g->k / (LEAST_DEPTH * g->m)));
}

// A row of ones times the parts, for each row of c.
void kiln__gemm_finish_sums(const kiln_context *ctx, const kiln__gemm_finish *f, float *sums, int64_t parts, int64_t m,
                            int64_t n) {
  static const float ones[PARTS] = {1, 1, 1, 1, 1, 1, 1, 1};
  kiln__gemm_args g = {.a = {(void *)ones, 0, 0, 1}, .b = {sums, n, m * n, 1}, .batches = m,
                       .m = 1, .n = n, .k = parts, .finish = *f};
  g.finish.c.batch = f->c.row;
  g.finish.preactivation.batch = f->preactivation.row;
  g.finish.gradient_at.batch = f->gradient_at.row;
  g.finish.residual.batch = f->residual.row;
  multiply(ctx, ctx->kernels[KILN_F32].gemm, &g, parts);
}

// The parts of k are batches, whose products [parts, m, n] are added up at the end.
static void multiply_parts(const kiln_context *ctx, const kiln__gemm_kernels *kernels, const kiln__gemm_args *g,
                           float *sums, int64_t parts) {
  int64_t depth = kiln__ceil_div(g->k, parts);
  kiln__gemm_args part = *g;
  part.batches = parts;
  part.k = depth;
  part.a.batch = depth * g->a.col;
  part.b.batch = depth * g->b.row;
  part.finish = (kiln__gemm_finish){.c = {sums, g->m * g->n, g->n, 1}, .alpha = 1};
  multiply(ctx, kernels, &part, g->k - (parts - 1) * depth);
  kiln__gemm_finish_sums(ctx, &g->finish, sums, parts, g->m, g->n);
}

kiln_status kiln__gemm_direct(kiln_context *ctx, const kiln__gemm_kernels *kernels, const kiln__gemm_args *g) {
  int64_t parts = parts_of_k(kernels, g);
  float *sums = NULL;
  if (parts > 1) KILN_TRY(kiln__scratch(ctx, (size_t)(parts * g->m * g->n) * sizeof(float), (void **)&sums));
  if (ctx->query) return KILN_OK;
  if (parts > 1) multiply_parts(ctx, kernels, g, sums, parts);
  else multiply(ctx, kernels, g, g->k);
  return KILN_OK;
}
