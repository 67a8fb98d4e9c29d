// A product with a sparse matrix, by panels of x: each is transposed once, then each part of c's columns takes its chunks
// of k one after another, and ends as a dense product's does.
#include "gemm/gemm.h"
#include "sparse/sparse.h"

// Times the width of a panel: what stays in the first cache, where each element of the panel that is read serves one row
// of W, or in the second, where it serves several.
static const kiln__sparse_chunks chunks = {96, 768};

enum {
  COLUMNS = 256,   // of c in one part: their sums stay in the second cache
  PANELS = 16,     // from which on a thread takes all parts of a panel
};

typedef struct product_task {
  const kiln__sparse_kernels *kernels;
  const kiln__gemm_args *args;
  const kiln__sparse_lists *lists;
  int64_t panels, parts;           // of a, and of c's columns
  int64_t panel_floats, sums_floats, own_floats;
  float *own;                      // of each thread: a panel, sums, and these turned
} product_task;

static void multiply_part(const product_task *t, int64_t panel, int64_t part, const float *x, float *sums,
                          float *turned) {
  const kiln__gemm_args *g = t->args;
  const kiln__sparse_lists *l = t->lists;
  int64_t width = t->kernels->width, begin = part * COLUMNS;
  kiln__gemm_part c = {0, panel * width, begin, kiln__min(width, g->m - panel * width),
                       kiln__min(COLUMNS, g->n - begin)};
  kiln__sparse_part p = {0, begin / l->rows, kiln__min((begin + COLUMNS) / l->rows, l->groups)};
  if (l->chunks == 0) memset(sums, 0, (size_t)t->sums_floats * sizeof *sums);
  for (p.chunk = 0; p.chunk < l->chunks; p.chunk++) t->kernels->multiply(sums, x, l, &p);
  t->kernels->finish(&g->finish, &c, sums, turned);
}

static void multiply_chunk(void *arg, int64_t chunk, int thread) {
  const product_task *t = arg;
  const kiln__gemm_args *g = t->args;
  int64_t width = t->kernels->width, panel = chunk % t->panels, first = chunk / t->panels;
  int64_t last = t->panels < PANELS ? first + 1 : t->parts;
  float *x = t->own + thread * t->own_floats, *sums = x + t->panel_floats;
  const char *from = (const char *)g->a.data + panel * width * g->a.row * (int64_t)kiln_dtype_size(g->a_dtype);
  t->kernels->pack(x, from, g->a.row, kiln__min(width, g->m - panel * width), g->k, t->panel_floats / width);
  for (int64_t part = first; part < last; part++) multiply_part(t, panel, part, x, sums, sums + t->sums_floats);
}

kiln_status kiln__gemm_sparse(kiln_context *ctx, const kiln__gemm_args *g) {
  const kiln__sparse *w = &g->sparse;
  kiln__sparse_layout layout;
  KILN_TRY(kiln__sparse_lay_out(ctx, w, !g->sparse_transposed, &chunks, &layout));
  KILN_TRY(kiln__sparse_fill(ctx, &layout, g->b_dtype, g->b.data));
  int64_t depth = g->sparse_transposed ? w->col_blocks * w->block_cols : w->row_blocks * w->block_rows;
  if (layout.lists.rows == KILN_SPARSE_WIDE) return kiln__sparse_block_product(ctx, g, &layout.lists, depth);
  product_task t = {.kernels = ctx->kernels[g->a_dtype].sparse, .args = g,
                    .lists = &layout.lists, .parts = kiln__ceil_div(g->n, COLUMNS)};
  int64_t width = t.kernels->width;
  t.panels = kiln__ceil_div(g->m, width);
  t.panel_floats = kiln__round_up(depth * width, KILN_ALIGNMENT);
  t.sums_floats = COLUMNS * width;
  t.own_floats = t.panel_floats + 2 * t.sums_floats;
  KILN_TRY(kiln__scratch(ctx, (size_t)(ctx->threads * t.own_floats) * sizeof *t.own, (void **)&t.own));
  if (ctx->query) return KILN_OK;
  kiln__parallel_for(ctx, t.panels * (t.panels < PANELS ? t.parts : 1), multiply_chunk, &t);
  return KILN_OK;
}
