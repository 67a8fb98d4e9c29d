// The gradient of weights of which N of each four are kept, N below four: as that of blocks, but that each row of W picks
// its own steps of x.
#include "sparse/sparse.h"

enum {
  SUMS = 64,  // rows of x and dy in one sum: a slab of each stays in the first cache
  SLAB = 12,  // groups of x in a slab: a multiple of what fits the registers
};

bool kiln__sparse_is_in_fours(const kiln__sparse *w) { return w->kept > 0 && w->kept < 4 && w->group == 4; }

typedef struct gradient_task {
  kiln__sparse_slabs slabs;
  const kiln__sparse *w;
  int64_t groups;   // of a row
  float *gradients, *to;
  int32_t *places;  // [strip][group][kept][KILN_SPARSE_WIDE], as the gradients
  bool accumulate;
} gradient_task;

static void place_part(void *arg, int64_t strip, int thread) {
  (void)thread;
  const gradient_task *t = arg;
  int64_t each = t->groups * t->w->kept;
  for (int64_t lane = 0; lane < KILN_SPARSE_WIDE; lane++) {
    int64_t row = strip * KILN_SPARSE_WIDE + lane;
    for (int64_t e = 0; e < each; e++) {
      int32_t place = row < t->w->rows ? t->w->places[row * each + e] : 0;
      t->places[(strip * each + e) * KILN_SPARSE_WIDE + lane] = 0x03020100 + 0x04040404 * place;
    }
  }
}

static void gradient_part(void *arg, int64_t strip, int thread) {
  (void)thread;
  const gradient_task *t = arg;
  const kiln__sparse_slabs *s = &t->slabs;
  const float *dy = s->dy_cut + strip * SUMS * KILN_SPARSE_WIDE;
  for (int64_t g = 0; g < t->groups; g += SLAB) {
    int64_t at = (strip * t->groups + g) * t->w->kept * KILN_SPARSE_WIDE;
    s->kernels->gradient_groups(t->gradients + at, t->places + at, s->x_cut + g * 4 * SUMS, s->width, dy, s->rows,
                                kiln__min(SLAB, t->groups - g), (int)t->w->kept);
  }
}

// From strips to the order of the values.
static void store_part(void *arg, int64_t strip, int thread) {
  (void)thread;
  const gradient_task *t = arg;
  int64_t each = t->groups * t->w->kept, first = strip * KILN_SPARSE_WIDE;
  for (int64_t row = first; row < kiln__min(first + KILN_SPARSE_WIDE, t->w->rows); row++) {
    const float *from = t->gradients + strip * each * KILN_SPARSE_WIDE + (row - first);
    float *to = t->to + row * each;
    for (int64_t e = 0; e < each; e++) to[e] = (t->accumulate ? to[e] : 0) + from[e * KILN_SPARSE_WIDE];
  }
}

kiln_status kiln__sparse_group_gradient(kiln_context *ctx, const kiln__sparse *view, kiln_dtype dtype,
                                        const kiln__rows *x, const kiln__rows *dy, float *to, bool accumulate) {
  gradient_task t = {.w = view, .groups = view->cols / 4, .to = to, .accumulate = accumulate,
                     .slabs = {.kernels = ctx->kernels[dtype].sparse, .x = x, .dy = dy,
                               .item = (int64_t)kiln_dtype_size(dtype), .width = 4 * SLAB, .sums = SUMS}};
  int64_t strips = kiln__ceil_div(view->rows, KILN_SPARSE_WIDE);
  int64_t count = strips * KILN_SPARSE_WIDE * t.groups * view->kept;
  KILN_TRY(kiln__scratch(ctx, (size_t)count * sizeof *t.places, (void **)&t.places));
  KILN_TRY(kiln__scratch(ctx, (size_t)count * sizeof(float), (void **)&t.gradients));
  if (!ctx->query) {
    memset(t.gradients, 0, (size_t)count * sizeof(float));
    kiln__parallel_for(ctx, strips, place_part, &t);
  }
  KILN_TRY(kiln__sparse_for_slabs(ctx, &t.slabs, strips, gradient_part, &t));
  if (!ctx->query) kiln__parallel_for(ctx, strips, store_part, &t);
  return KILN_OK;
}
