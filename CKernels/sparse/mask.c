// N:M masks of dense matrices, and the gradient that passes through them.
#include "sparse/sparse.h"

typedef struct mask_task {
  kiln_dtype dtype, wide;
  const kiln_tensor *x, *from, *to;  // `from`: dy; x itself for the mask
  int32_t kept, group;
  double decay;
  bool is_backward;
} mask_task;

// Whether element i is among the largest: fewer than `kept` come before it.
static bool is_kept(const double *size, int32_t i, const mask_task *t) {
  int32_t before = 0;
  for (int32_t j = 0; j < t->group; j++) before += size[j] > size[i] || (size[j] == size[i] && j < i);
  return before < t->kept;
}

static void mask_group(const mask_task *t, int64_t row, int64_t begin) {
  double value[256], size[256];
  for (int32_t i = 0; i < t->group; i++) {
    value[i] = kiln__sparse_real(t->dtype, kiln__data(t->x), kiln__sparse_place(t->x, row, begin + i));
    size[i] = fabs(value[i]);
  }
  for (int32_t i = 0; i < t->group; i++) {
    bool kept = is_kept(size, i, t);
    int64_t at = kiln__sparse_place(t->to, row, begin + i);
    if (t->is_backward) {
      double dy = kiln__sparse_real(t->wide, kiln__data(t->from), kiln__sparse_place(t->from, row, begin + i));
      kiln__sparse_put(t->wide, kiln__data(t->to), at, kept ? dy : dy + t->decay * value[i]);
    } else {
      kiln__sparse_put(t->dtype, kiln__data(t->to), at, kept ? value[i] : 0);
    }
  }
}

// One row, or one column of groups: what lies together in memory.
static void mask_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const mask_task *t = arg;
  if (t->x->strides[1] == 1) {
    for (int64_t begin = 0; begin < t->x->shape[1]; begin += t->group) mask_group(t, part, begin);
  } else {
    for (int64_t row = 0; row < t->x->shape[0]; row++) mask_group(t, row, part * t->group);
  }
}

static kiln_status run(kiln_context *ctx, mask_task *t, const char *names[2]) {
  KILN_TRY(kiln__check_real(ctx, "x", t->x, &t->dtype));
  t->wide = kiln__wide(t->dtype);
  kiln_dtype dtype = t->is_backward ? t->wide : t->dtype;
  const kiln_tensor *others[2] = {t->to, t->from};
  for (int i = 0; i < 2; i++) {
    KILN_TRY(kiln__check_dtype(ctx, names[i], others[i], dtype));
    kiln_tensor like = *t->x;
    like.dtype = dtype;
    KILN_TRY(kiln__check_like(ctx, names[i], others[i], "x", &like));
  }
  if (t->group < 2 || t->group > 256 || t->kept < 1 || t->kept > t->group) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "%d kept of each %d", t->kept, t->group);
  }
  if (t->x->rank != 2 || t->x->shape[1] % t->group != 0) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "x is %s, not a matrix of whole groups of %d", kiln__shape_text(t->x).s,
                      t->group);
  }
  if (ctx->query) return KILN_OK;
  int64_t parts = t->x->strides[1] == 1 ? t->x->shape[0] : t->x->shape[1] / t->group;
  kiln__parallel_for(ctx, parts, mask_part, t);
  return KILN_OK;
}

kiln_status kiln_mask_groups(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x, int32_t kept,
                             int32_t group) {
  KILN_TRY(kiln__begin(ctx, "mask_groups"));
  mask_task t = {.x = x, .from = x, .to = y, .kept = kept, .group = group};
  return run(ctx, &t, (const char *[2]){"y", "x"});
}

kiln_status kiln_mask_groups_backward(kiln_context *ctx, const kiln_tensor *dx, const kiln_tensor *dy,
                                      const kiln_tensor *x, int32_t kept, int32_t group, double decay) {
  KILN_TRY(kiln__begin(ctx, "mask_groups_backward"));
  if (!(decay >= 0)) return kiln__fail(ctx, KILN_ERR_OPTION, "decay is %g", decay);
  mask_task t = {.x = x, .from = dy, .to = dx, .kept = kept, .group = group, .decay = decay, .is_backward = true};
  return run(ctx, &t, (const char *[2]){"dx", "dy"});
}
