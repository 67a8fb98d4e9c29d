// Factors of groups of a matrix's columns (network slimming), and the gradients that they and the matrix have.
#include "sparse/sparse.h"

enum { COLUMNS = 64 };  // of a task, at least

typedef struct slim_task {
  kiln_dtype dtype, wide;
  const kiln_tensor *x, *factors;
  const kiln_tensor *from, *to;  // x and y, or dy and dx
  const kiln_tensor *dfactors;
  bool is_backward;
  int64_t group, groups;         // columns of a group, groups of a task
  double penalty;
} slim_task;

static double factor(const slim_task *t, int64_t k) {
  return kiln__sparse_real(t->wide, kiln__data(t->factors), k * t->factors->strides[0]);
}

// The columns of some groups, in the order in which they lie in memory. The sums are over rows in order: the same for any
// number of threads.
static void slim_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const slim_task *t = arg;
  double sums[COLUMNS] = {0};
  int64_t first = part * t->groups, last = kiln__min(first + t->groups, t->x->shape[1] / t->group);
  int64_t rows = t->x->shape[0], begin = first * t->group, cols = last * t->group - begin;
  bool by_rows = t->x->strides[1] == 1;
  kiln_dtype given = t->is_backward ? t->wide : t->dtype;
  for (int64_t i = 0; i < (by_rows ? rows : cols); i++) {
    for (int64_t j = 0; j < (by_rows ? cols : rows); j++) {
      int64_t row = by_rows ? i : j, col = begin + (by_rows ? j : i), k = col / t->group;
      double v = kiln__sparse_real(given, kiln__data(t->from), kiln__sparse_place(t->from, row, col));
      kiln__sparse_put(given, kiln__data(t->to), kiln__sparse_place(t->to, row, col), v * factor(t, k));
      if (!t->is_backward) continue;
      sums[k - first] += v * kiln__sparse_real(t->dtype, kiln__data(t->x), kiln__sparse_place(t->x, row, col));
    }
  }
  for (int64_t k = first; t->is_backward && k < last; k++) {
    double f = factor(t, k), pull = f > 0 ? t->penalty : f < 0 ? -t->penalty : 0;
    kiln__sparse_put(t->wide, kiln__data(t->dfactors), k * t->dfactors->strides[0], sums[k - first] + pull);
  }
}

static kiln_status run(kiln_context *ctx, slim_task *t, const char *names[2]) {
  KILN_TRY(kiln__check_real(ctx, "x", t->x, &t->dtype));
  t->wide = kiln__wide(t->dtype);
  const kiln_tensor *others[2] = {t->to, t->from}, *lists[2] = {t->factors, t->dfactors};
  kiln_tensor like = *t->x;
  like.dtype = t->is_backward ? t->wide : t->dtype;
  for (int i = 0; i < 2; i++) {
    KILN_TRY(kiln__check_dtype(ctx, names[i], others[i], like.dtype));
    KILN_TRY(kiln__check_like(ctx, names[i], others[i], "x", &like));
  }
  for (int i = 0; i < 2; i++) {
    if (i == 1 && !t->is_backward) continue;
    const char *name = i ? "dfactors" : "factors";
    KILN_TRY(kiln__check_dtype(ctx, name, lists[i], t->wide));
    if (lists[i]->rank != 1 || lists[i]->shape[0] < 1 || t->x->rank != 2 || t->x->shape[1] % lists[i]->shape[0] != 0) {
      return kiln__fail(ctx, KILN_ERR_SHAPE, "%s is %s, which do not divide the columns of x, %s", name,
                        kiln__shape_text(lists[i]).s, kiln__shape_text(t->x).s);
    }
  }
  if (t->is_backward && t->dfactors->shape[0] != t->factors->shape[0]) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "dfactors is %s, and factors %s", kiln__shape_text(t->dfactors).s,
                      kiln__shape_text(t->factors).s);
  }
  if (ctx->query) return KILN_OK;
  int64_t count = t->factors->shape[0];
  t->group = t->x->shape[1] / count;
  t->groups = kiln__max(COLUMNS / kiln__max(t->group, 1), 1);
  kiln__parallel_for(ctx, (count + t->groups - 1) / t->groups, slim_part, t);
  return KILN_OK;
}

kiln_status kiln_slim(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x, const kiln_tensor *factors) {
  KILN_TRY(kiln__begin(ctx, "slim"));
  slim_task t = {.x = x, .factors = factors, .from = x, .to = y};
  return run(ctx, &t, (const char *[2]){"y", "x"});
}

kiln_status kiln_slim_backward(kiln_context *ctx, const kiln_tensor *dx, const kiln_tensor *dfactors,
                               const kiln_tensor *dy, const kiln_tensor *x, const kiln_tensor *factors,
                               double penalty) {
  KILN_TRY(kiln__begin(ctx, "slim_backward"));
  if (!(penalty >= 0)) return kiln__fail(ctx, KILN_ERR_OPTION, "penalty is %g", penalty);
  slim_task t = {.x = x, .factors = factors, .from = dy, .to = dx, .dfactors = dfactors, .penalty = penalty};
  t.is_backward = true;
  return run(ctx, &t, (const char *[2]){"dx", "dy"});
}
