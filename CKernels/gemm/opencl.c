// Matrix products on an OpenCL device.
#include "gemm/gemm.h"

#include "opencl/launch.h"

enum {
  STRIPS = 32,                  // that an item goes through at most, so that its panel of b stays in a cache
  PACK_K = 64,
  OF_4 = 4,                     // k side by side in a panel, where they are so in the matrix
  LONG_K = 4096, RUN_K = 2048,  // a longer k goes in runs, so that panels stay in the caches
};

// As `product` of gemm.cl has it.
typedef struct product {
  int64_t m, n, stride, tiles, first_k, last_k;
  struct { int64_t batch, row; } c, residual, preactivation, gradient_at;
  float alpha;
  int32_t activation, accumulate, plain;
} product;

// Rows of a or columns of b, in panels as wide as the tile.
typedef struct panels {
  float *data;
  int64_t extent, count, stride;
  int32_t width, group;
} panels;

static kiln_status pack(kiln_context *ctx, panels *p, const kiln__matrix *x, kiln_dtype dtype, int64_t across,
                        int64_t along, const kiln__gemm_args *g) {
  p->count = kiln__ceil_div(p->extent, p->width);
  p->stride = kiln__round_up(g->k, OF_4);
  KILN_TRY(kiln__scratch(ctx, (size_t)(g->batches * p->count * p->width * p->stride) * sizeof(float),
                         (void **)&p->data));
  kiln__cl_grid grid = {p->count, kiln__ceil_div(g->k, PACK_K), g->batches, 1};
  return KILN_CL_LAUNCH(ctx, kiln__cl_of(KILN_CL_GEMM, dtype), "gemm_pack", grid, CL_AT(p->data), CL_AT(x->data),
                        CL_LONG(x->batch), CL_LONG(across), CL_LONG(along), CL_LONG(p->extent), CL_LONG(g->k),
                        CL_LONG(p->stride), CL_INT(p->width), CL_INT(p->group));
}

static kiln_status bias_gradient(kiln_context *ctx, const kiln__gemm_args *g, const panels *p) {
  return KILN_CL_LAUNCH(ctx, KILN_CL_GEMM, "gemm_sums", kiln__cl_each(p->extent, 1, 1), CL_AT(g->bias_gradient),
                        CL_AT(p->data), CL_LONG(p->extent), CL_LONG(g->k), CL_LONG(p->stride), CL_INT(p->width),
                        CL_INT(p->group), CL_FLOAT(g->finish.alpha), CL_INT(g->finish.accumulate));
}

kiln_status kiln__gemm_opencl(kiln_context *ctx, const kiln__gemm_args *g) {
  const kiln__cl_tile *tile = ctx->cl->tile;
  bool of_4 = tile->items == 0 && g->a.col == 1;
  panels a = {.extent = g->m, .width = tile->rows, .group = of_4 ? OF_4 : 1};
  panels b = {.extent = g->n, .width = tile->columns, .group = 1};
  KILN_TRY(pack(ctx, &a, &g->a, g->a_dtype, g->a.row, g->a.col, g));
  KILN_TRY(pack(ctx, &b, &g->b, g->b_dtype, g->b.col, g->b.row, g));
  const kiln__gemm_finish *f = &g->finish;
  // Parts of as many strips each, and enough groups for every unit several times over.
  int64_t groups = 4 * ctx->cl->info.compute_units, parts = kiln__ceil_div(a.count, tile->items == 0 ? STRIPS : 1);
  while (parts < a.count && parts * b.count * g->batches < groups) parts *= 2;
  int64_t tiles = kiln__ceil_div(a.count, parts);
  product p = {.m = g->m, .n = g->n, .stride = a.stride, .tiles = tiles, .c = {f->c.batch, f->c.row},
               .residual = {f->residual.batch, f->residual.row},
               .preactivation = {f->preactivation.batch, f->preactivation.row},
               .gradient_at = {f->gradient_at.batch, f->gradient_at.row}, .alpha = f->alpha,
               .activation = f->activation, .accumulate = f->accumulate,
               .plain = !f->bias && !f->residual.data && !f->preactivation.data && !f->gradient_at.data &&
                        !f->activation};
  kiln__cl_grid grid = {b.count, kiln__ceil_div(a.count, tiles), g->batches, kiln__max(1, tile->items * tile->items)};
  const char *name = of_4 ? "gemm_tiles_of_4" : "gemm_tiles";
  // Only sums can go on in c, and only where it does not round them.
  kiln__cl_program program = kiln__cl_of(KILN_CL_GEMM, f->dtype);
  int64_t run = p.plain && f->dtype == KILN_F32 && g->k > LONG_K ? RUN_K : kiln__max(g->k, 1);
  for (p.first_k = 0; p.first_k < kiln__max(g->k, 1); p.first_k += run, p.accumulate = 1) {
    p.last_k = kiln__min(p.first_k + run, g->k);
    KILN_TRY(KILN_CL_LAUNCH(ctx, program, name, grid, CL_AT(f->c.data), CL_AT(a.data), CL_AT(b.data), CL_AT(f->bias),
                            CL_AT(f->residual.data), CL_AT(f->preactivation.data), CL_AT(f->gradient_at.data),
                            CL_STRUCT(p)));
  }
  return g->bias_gradient ? bias_gradient(ctx, g, g->bias_gradient_of_b ? &b : &a) : KILN_OK;
}
