// Products and gradients of sparse weights in blocks of KILN_SPARSE_WIDE rows, or a multiple, by rows of x.
#include "gemm/gemm.h"
#include "sparse/sparse.h"

enum {
  ROWS = 96,            // of x in a part, at most
  FLOATS = 1 << 16,     // of these rows: what stays in the second cache while groups of W pass by
  PARTS = 16,           // of rows, from which on a thread takes all groups of one
  GROUPS = 16,          // in a part otherwise
  SUMS = 128,           // rows of x and dy in one sum of the gradient: a slab of each stays in the first cache
  GRADIENT_GROUPS = 2,  // of W in a part
};

typedef struct product_task {
  const kiln__gemm_args *args;
  const kiln__sparse_kernels *kernels;
  const kiln__sparse_lists *lists;
  int64_t rows, depth, parts, floats;  // rows in a part; floats of a thread's copy of them
  float *own;
} product_task;

static void product_part(void *arg, int64_t index, int thread) {
  const product_task *t = arg;
  const kiln__gemm_args *g = t->args;
  int64_t begin = index / t->parts * t->rows, count = kiln__min(t->rows, g->m - begin);
  int64_t each = kiln__ceil_div(t->lists->groups, t->parts), first = index % t->parts * each;
  float *x = t->own + thread * t->floats;
  const char *from = (const char *)g->a.data + begin * g->a.row * (int64_t)kiln_dtype_size(g->a_dtype);
  t->kernels->copy(x, from, g->a.row, count, g->k, t->depth);
  for (int64_t group = first; group < kiln__min(first + each, t->lists->groups); group++) {
    int64_t column = group * KILN_SPARSE_WIDE;
    if (column >= g->n) break;
    kiln__gemm_part c = {0, begin, column, count, kiln__min(KILN_SPARSE_WIDE, g->n - column)};
    t->kernels->multiply_blocks(&g->finish, &c, x, t->depth, t->lists, group);
  }
}

kiln_status kiln__sparse_block_product(kiln_context *ctx, const kiln__gemm_args *g, const kiln__sparse_lists *lists,
                                       int64_t depth) {
  product_task t = {.args = g, .kernels = ctx->kernels[g->a_dtype].sparse, .lists = lists, .depth = depth};
  int64_t tile = t.kernels->tile, fitting = FLOATS / kiln__max(depth, 1) / tile * tile;
  t.rows = kiln__max(tile, kiln__min(ROWS / tile * tile, fitting));
  int64_t chunks = kiln__ceil_div(g->m, t.rows);
  t.parts = chunks >= PARTS ? 1 : kiln__ceil_div(lists->groups, GROUPS);
  t.floats = kiln__round_up(t.rows * depth, KILN_ALIGNMENT);
  KILN_TRY(kiln__scratch(ctx, (size_t)(ctx->threads * t.floats) * sizeof(float), (void **)&t.own));
  if (ctx->query) return KILN_OK;
  kiln__parallel_for(ctx, chunks * t.parts, product_part, &t);
  return KILN_OK;
}

typedef struct gradient_task {
  kiln__sparse_slabs slabs;
  const kiln__sparse_lists *lists;
  float *gradients;
} gradient_task;

static void gradient_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const gradient_task *t = arg;
  const kiln__sparse_lists *l = t->lists;
  const kiln__sparse_slabs *s = &t->slabs;
  int64_t area = l->depth * KILN_SPARSE_WIDE, end = kiln__min((part + 1) * GRADIENT_GROUPS, l->groups);
  for (int64_t group = part * GRADIENT_GROUPS; group < end; group++) {
    const float *dy = s->dy_cut + group * SUMS * KILN_SPARSE_WIDE;
    for (int64_t e = l->starts[group]; e < l->starts[group + 1]; e++) {
      s->kernels->gradient_blocks(t->gradients + e * area, s->x_cut + l->steps[e] * (int64_t)SUMS, dy, s->rows,
                                  l->depth);
    }
  }
}

kiln_status kiln__sparse_block_gradient(kiln_context *ctx, kiln_dtype dtype, const kiln__rows *x, const kiln__rows *dy,
                                        const kiln__sparse_lists *lists, float *gradients) {
  gradient_task t = {.lists = lists, .gradients = gradients,
                     .slabs = {.kernels = ctx->kernels[dtype].sparse, .x = x, .dy = dy,
                               .item = (int64_t)kiln_dtype_size(dtype), .width = lists->depth, .sums = SUMS}};
  return kiln__sparse_for_slabs(ctx, &t.slabs, kiln__ceil_div(lists->groups, GRADIENT_GROUPS), gradient_part, &t);
}
