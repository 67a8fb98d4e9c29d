// Products and gradients of sparse weights in blocks of KILN_SPARSE_WIDE rows, or a multiple, by rows of x.
#include "gemm/gemm.h"
#include "sparse/sparse.h"

enum {
  ROWS = 96,            // of x in a part, at most
  FLOATS = 1 << 16,     // of these rows: what stays in the second cache while groups of W pass by
  PARTS = 16,           // of rows, from which on a thread takes all groups of one
  GROUPS = 16,          // in a part otherwise
  SUMS = 128,           // rows of x and dy in one sum of the gradient: a slab of each stays in the first cache
  CUT = 16,             // of these rows in a part
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
  const kiln__sparse_kernels *kernels;
  const kiln__sparse_lists *lists;
  const kiln__rows *x, *dy;
  int64_t item, begin, rows;  // bytes of an element; the rows of this sum
  float *x_cut, *dy_cut, *gradients;
} gradient_task;

// Some rows of x, and the same of dy.
static void cut_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const gradient_task *t = arg;
  int64_t row = part * CUT, rows = kiln__min(CUT, t->rows - row), begin = t->begin + row, depth = t->lists->depth;
  const char *x = (const char *)t->x->data + begin * t->x->stride * t->item;
  const char *dy = (const char *)t->dy->data + begin * t->dy->stride * t->item;
  t->kernels->cut(t->x_cut + row * depth, x, t->x->stride, rows, t->x->cols, depth, SUMS * depth);
  t->kernels->cut(t->dy_cut + row * KILN_SPARSE_WIDE, dy, t->dy->stride, rows, t->dy->cols, KILN_SPARSE_WIDE,
                  SUMS * KILN_SPARSE_WIDE);
}

static void gradient_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const gradient_task *t = arg;
  const kiln__sparse_lists *l = t->lists;
  int64_t area = l->depth * KILN_SPARSE_WIDE, end = kiln__min((part + 1) * GRADIENT_GROUPS, l->groups);
  for (int64_t group = part * GRADIENT_GROUPS; group < end; group++) {
    const float *dy = t->dy_cut + group * SUMS * KILN_SPARSE_WIDE;
    for (int64_t e = l->starts[group]; e < l->starts[group + 1]; e++) {
      t->kernels->gradient_blocks(t->gradients + e * area, t->x_cut + l->steps[e] * (int64_t)SUMS, dy, t->rows,
                                  l->depth);
    }
  }
}

kiln_status kiln__sparse_block_gradient(kiln_context *ctx, const kiln__sparse_kernels *kernels, kiln_dtype dtype,
                                        const kiln__rows *x, const kiln__rows *dy, const kiln__sparse_lists *lists,
                                        float *gradients) {
  gradient_task t = {.kernels = kernels, .lists = lists, .x = x, .dy = dy, .item = (int64_t)kiln_dtype_size(dtype),
                     .gradients = gradients};
  int64_t x_floats = kiln__round_up(x->cols, lists->depth) * SUMS, dy_floats = lists->groups * KILN_SPARSE_WIDE * SUMS;
  KILN_TRY(kiln__scratch(ctx, (size_t)x_floats * sizeof(float), (void **)&t.x_cut));
  KILN_TRY(kiln__scratch(ctx, (size_t)dy_floats * sizeof(float), (void **)&t.dy_cut));
  if (ctx->query) return KILN_OK;
  for (t.begin = 0; t.begin < x->rows; t.begin += SUMS) {
    t.rows = kiln__min(SUMS, x->rows - t.begin);
    kiln__parallel_for(ctx, kiln__ceil_div(t.rows, CUT), cut_part, &t);
    kiln__parallel_for(ctx, kiln__ceil_div(lists->groups, GRADIENT_GROUPS), gradient_part, &t);
  }
  return KILN_OK;
}
