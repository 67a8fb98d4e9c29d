// Gradients by slabs: a run of rows of x and dy is cut so that each block's part of it lies together, then used by all.
#include "sparse/sparse.h"

enum { CUT = 16 };  // rows in a part

static void cut_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const kiln__sparse_slabs *s = arg;
  int64_t row = part * CUT, rows = kiln__min(CUT, s->rows - row), begin = s->begin + row;
  const char *x = (const char *)s->x->data + begin * s->x->stride * s->item;
  const char *dy = (const char *)s->dy->data + begin * s->dy->stride * s->item;
  s->kernels->cut(s->x_cut + row * s->width, x, s->x->stride, rows, s->x->cols, s->width, s->sums * s->width);
  s->kernels->cut(s->dy_cut + row * KILN_SPARSE_WIDE, dy, s->dy->stride, rows, s->dy->cols, KILN_SPARSE_WIDE,
                  s->sums * KILN_SPARSE_WIDE);
}

kiln_status kiln__sparse_for_slabs(kiln_context *ctx, kiln__sparse_slabs *s, int64_t parts, kiln__body body,
                                   void *arg) {
  int64_t x_floats = kiln__round_up(s->x->cols, s->width) * s->sums;
  int64_t dy_floats = kiln__round_up(s->dy->cols, KILN_SPARSE_WIDE) * s->sums;
  KILN_TRY(kiln__scratch(ctx, (size_t)x_floats * sizeof(float), (void **)&s->x_cut));
  KILN_TRY(kiln__scratch(ctx, (size_t)dy_floats * sizeof(float), (void **)&s->dy_cut));
  if (ctx->query) return KILN_OK;
  for (s->begin = 0; s->begin < s->x->rows; s->begin += s->sums) {
    s->rows = kiln__min(s->sums, s->x->rows - s->begin);
    kiln__parallel_for(ctx, kiln__ceil_div(s->rows, CUT), cut_part, s);
    kiln__parallel_for(ctx, parts, body, arg);
  }
  return KILN_OK;
}
