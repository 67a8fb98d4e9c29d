// Matrix products on an OpenCL device.
#include "gemm/gemm.h"

#include "opencl/launch.h"

enum {
  MR = 6, NR = 16, STRIPS = 32, PACK_K = 64,
  LONG_K = 4096, RUN_K = 2048,  // a longer k goes in runs, so that panels stay in the caches
};

// As `product` of gemm.cl has it.
typedef struct product {
  int64_t m, n, k, tiles, first_k, last_k;
  struct { int64_t batch, row; } c, residual, preactivation, gradient_at;
  float alpha;
  int32_t activation, accumulate, reserved;
} product;

// Panels of `width` rows of a, or columns of b.
static kiln_status pack(kiln_context *ctx, float *out, const kiln__matrix *x, int64_t across, int64_t along,
                        int64_t extent, const kiln__gemm_args *g, int32_t width) {
  int64_t panels = kiln__ceil_div(extent, width);
  kiln__cl_grid grid = {panels, kiln__ceil_div(g->k, PACK_K), g->batches, 1};
  return KILN_CL_LAUNCH(ctx, KILN_CL_GEMM, "gemm_pack", grid, CL_AT(out), CL_AT(x->data), CL_LONG(x->batch),
                        CL_LONG(across), CL_LONG(along), CL_LONG(extent), CL_LONG(g->k), CL_INT(width),
                        CL_LONG(panels));
}

static kiln_status bias_gradient(kiln_context *ctx, const kiln__gemm_args *g, const float *packed, int64_t extent,
                                 int32_t width) {
  return KILN_CL_LAUNCH(ctx, KILN_CL_GEMM, "gemm_sums", kiln__cl_each(extent, 1, 1), CL_AT(g->bias_gradient),
                        CL_AT(packed), CL_LONG(extent), CL_LONG(g->k), CL_INT(width), CL_FLOAT(g->finish.alpha),
                        CL_INT(g->finish.accumulate));
}

kiln_status kiln__gemm_opencl(kiln_context *ctx, const kiln__gemm_args *g) {
  int64_t strips = kiln__ceil_div(g->m, MR), panels = kiln__ceil_div(g->n, NR);
  float *a, *b;
  KILN_TRY(kiln__scratch(ctx, (size_t)(g->batches * strips * MR * g->k) * sizeof(float), (void **)&a));
  KILN_TRY(kiln__scratch(ctx, (size_t)(g->batches * panels * NR * g->k) * sizeof(float), (void **)&b));
  KILN_TRY(pack(ctx, a, &g->a, g->a.row, g->a.col, g->m, g, MR));
  KILN_TRY(pack(ctx, b, &g->b, g->b.col, g->b.row, g->n, g, NR));
  const kiln__gemm_finish *f = &g->finish;
  // Enough items for every unit several times over.
  int64_t items = 4 * ctx->cl->info.compute_units, tiles = STRIPS;
  while (tiles > 1 && kiln__ceil_div(strips, tiles) * panels * g->batches < items) tiles /= 2;
  product p = {.m = g->m, .n = g->n, .k = g->k, .tiles = tiles, .c = {f->c.batch, f->c.row},
               .residual = {f->residual.batch, f->residual.row},
               .preactivation = {f->preactivation.batch, f->preactivation.row},
               .gradient_at = {f->gradient_at.batch, f->gradient_at.row}, .alpha = f->alpha,
               .activation = f->activation, .accumulate = f->accumulate};
  kiln__cl_grid grid = {panels, kiln__ceil_div(strips, tiles), g->batches, 1};
  // Only sums can go on in c.
  bool plain = !f->bias && !f->residual.data && !f->preactivation.data && !f->gradient_at.data && !f->activation;
  int64_t run = plain && g->k > LONG_K ? RUN_K : kiln__max(g->k, 1);
  for (p.first_k = 0; p.first_k < kiln__max(g->k, 1); p.first_k += run, p.accumulate = 1) {
    p.last_k = kiln__min(p.first_k + run, g->k);
    KILN_TRY(KILN_CL_LAUNCH(ctx, KILN_CL_GEMM, "gemm_tiles", grid, CL_AT(f->c.data), CL_AT(a), CL_AT(b),
                            CL_AT(f->bias), CL_AT(f->residual.data), CL_AT(f->preactivation.data),
                            CL_AT(f->gradient_at.data), CL_STRUCT(p)));
  }
  if (!g->bias_gradient) return KILN_OK;
  return g->bias_gradient_of_b ? bias_gradient(ctx, g, b, g->n, NR) : bias_gradient(ctx, g, a, g->m, MR);
}
