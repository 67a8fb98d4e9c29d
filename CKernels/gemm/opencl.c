// Matrix products on an OpenCL device.
#include "gemm/gemm.h"

#include "opencl/launch.h"

enum {
  OF_K = 4,      // side by side in a strip of a
  OF_SUMS = 8,   // of bias_gradient, to an item
  RUN_K = 2048,  // no more of k at a time, so that b stays in a cache from panel to panel
};

// As gemm.cl has them: element (w, i), with w across the tile and i along k.
typedef struct operand {
  int64_t batch, across, along;
  int32_t type;
} operand;

typedef struct place {
  int64_t batch, row;
} place;

typedef struct product {
  int64_t m, n, k, row, block, strips, depth;
  operand a, b;
  place c, residual, preactivation, gradient_at;
  float alpha;
  int32_t activation, accumulate, plain;
} product;

static place place_of(const kiln__matrix *x) { return (place){x->batch, x->row}; }

static kiln_status multiply(kiln_context *ctx, const kiln__gemm_args *g, const product *p, const void *a,
                            const void *b, kiln__cl_grid grid) {
  const kiln__gemm_finish *f = &g->finish;
  return KILN_CL_LAUNCH(ctx, kiln__cl_of(KILN_CL_GEMM, f->dtype), "gemm_tiles", grid, CL_AT(f->c.data), CL_AT(a),
                        CL_AT(b), CL_AT(f->bias), CL_AT(f->residual.data), CL_AT(f->preactivation.data),
                        CL_AT(f->gradient_at.data), CL_STRUCT(*p));
}

static kiln_status bias_gradient(kiln_context *ctx, const kiln__gemm_args *g, const product *p) {
  bool of_b = g->bias_gradient_of_b;
  int64_t extent = of_b ? g->n : g->m;
  kiln__cl_grid grid = {kiln__ceil_div(extent, OF_SUMS * ctx->cl->group), 1, 1, ctx->cl->group};
  operand x = of_b ? p->b : p->a;
  return KILN_CL_LAUNCH(ctx, KILN_CL_GEMM, "gemm_sums", grid, CL_AT(g->bias_gradient),
                        CL_AT(of_b ? g->b.data : g->a.data), CL_STRUCT(x), CL_LONG(extent), CL_LONG(g->k),
                        CL_FLOAT(g->finish.alpha), CL_INT(g->finish.accumulate));
}

// `count` in parts as even as can be, of no more than `most`.
static int64_t even(int64_t count, int64_t most) { return kiln__ceil_div(count, kiln__ceil_div(count, most)); }

// Of strips, how many are packed at a time.
static int64_t block_of(const kiln_context *ctx, const kiln__gemm_args *g) {
  int32_t rows = ctx->cl->tile->rows;
  return even(kiln__ceil_div(g->m, rows), KILN_CL_BLOCK_ROWS / rows);
}

// For CPUs, rows go in blocks whose panels are packed and then multiplied, so that they stay in the caches; `p` is of
// p->k from `first` along k.
static kiln_status blocks(kiln_context *ctx, const kiln__gemm_args *g, product p, int64_t first, float *packed) {
  const kiln__cl_tile *tile = ctx->cl->tile;
  int64_t k = kiln__max(p.k, 1), panels = kiln__ceil_div(g->n, tile->columns), block = block_of(ctx, g);
  p.depth = kiln__round_up(even(k, tile->depth), OF_K);
  // Enough groups for every unit several times over.
  int64_t groups = kiln__ceil_div(4 * ctx->cl->info.compute_units, panels * g->batches);
  p.strips = kiln__ceil_div(block, kiln__min(groups, block));
  const void *a = kiln__at(g->a.data, g->a_dtype, first * g->a.col);
  const void *b = kiln__at(g->b.data, g->b_dtype, first * g->b.row);
  for (; p.row < g->m; p.row += block * tile->rows) {
    p.block = kiln__min(block, kiln__ceil_div(g->m - p.row, tile->rows));
    kiln__cl_grid across = {p.block, kiln__ceil_div(k, p.depth), g->batches, 1};
    KILN_TRY(KILN_CL_LAUNCH(ctx, KILN_CL_GEMM, "gemm_pack", across, CL_AT(packed), CL_AT(a), CL_STRUCT(p.a),
                            CL_LONG(p.row), CL_LONG(g->m), CL_LONG(p.k), CL_LONG(p.depth)));
    kiln__cl_grid grid = {panels, kiln__ceil_div(p.block, p.strips), g->batches, 1};
    KILN_TRY(multiply(ctx, g, &p, packed, b, grid));
  }
  return KILN_OK;
}

// A long k goes in runs, which go on in c where there are only sums and c does not round them.
static kiln_status runs(kiln_context *ctx, const kiln__gemm_args *g, product *p) {
  int64_t run = g->finish.plain && g->finish.dtype == KILN_F32 ? even(kiln__max(g->k, 1), RUN_K) : g->k;
  size_t elements = (size_t)(g->batches * block_of(ctx, g) * ctx->cl->tile->rows * kiln__round_up(run, OF_K));
  float *packed;
  KILN_TRY(kiln__scratch(ctx, elements * sizeof *packed, (void **)&packed));
  int64_t first = 0;
  do {
    p->k = kiln__min(run, g->k - first);
    KILN_TRY(blocks(ctx, g, *p, first, packed));
    first += run;
    p->accumulate = 1;
  } while (first < g->k);
  return KILN_OK;
}

kiln_status kiln__gemm_opencl(kiln_context *ctx, const kiln__gemm_args *g) {
  const kiln__cl_tile *tile = ctx->cl->tile;
  const kiln__gemm_finish *f = &g->finish;
  product p = {.m = g->m, .n = g->n, .k = g->k, .a = {g->a.batch, g->a.row, g->a.col, g->a_dtype},
               .b = {g->b.batch, g->b.col, g->b.row, g->b_dtype}, .c = place_of(&f->c),
               .residual = place_of(&f->residual), .preactivation = place_of(&f->preactivation),
               .gradient_at = place_of(&f->gradient_at), .alpha = f->alpha, .activation = f->activation,
               .accumulate = f->accumulate, .plain = f->plain};
  if (g->bias_gradient) KILN_TRY(bias_gradient(ctx, g, &p));
  if (tile->items == 0) return runs(ctx, g, &p);
  kiln__cl_grid grid = {kiln__ceil_div(g->n, tile->columns), kiln__ceil_div(g->m, tile->rows), g->batches,
                        tile->items * tile->items};
  return multiply(ctx, g, &p, g->a.data, g->b.data, grid);
}
