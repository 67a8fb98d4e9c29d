// Checks and threads of the optimizer updates.
#include "elementwise/spans.h"

// Dense, of w's dtype and number of elements.
static kiln_status check_dense(kiln_context *ctx, const char *name, const kiln_tensor *t, const kiln_tensor *w) {
  KILN_TRY(kiln__check_dtype(ctx, name, t, w->dtype));
  if (kiln__count(t) != kiln__count(w)) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "numbers of elements differ: %s is %s, w is %s", name,
                      kiln__shape_text(t).s, kiln__shape_text(w).s);
  }
  if (kiln__is_dense(t)) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_STRIDE, "%s is not dense", name);
}

static kiln_status refuse(kiln_context *ctx, const char *name, double value, const char *range) {
  return kiln__fail(ctx, KILN_ERR_OPTION, "%s is %g, not %s", name, value, range);
}

static kiln_status check_finite(kiln_context *ctx, const char *name, double value) {
  return isfinite(value) ? KILN_OK : refuse(ctx, name, value, "a finite number");
}

// A factor of a moving average.
static kiln_status check_factor(kiln_context *ctx, const char *name, double value) {
  return value >= 0 && value < 1 ? KILN_OK : refuse(ctx, name, value, "in [0, 1)");
}

typedef struct optim_task {
  const kiln__optim_kernels *kernels;
  kiln__sgd_args sgd;
  kiln__adam_args adam;
  int64_t count;
} optim_task;

static void sgd_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const optim_task *t = arg;
  int64_t begin = chunk * KILN_SPAN_ELEMENTS;
  t->kernels->sgd(&t->sgd, begin, kiln__min(begin + KILN_SPAN_ELEMENTS, t->count));
}

static void adam_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const optim_task *t = arg;
  int64_t begin = chunk * KILN_SPAN_ELEMENTS;
  t->kernels->adam(&t->adam, begin, kiln__min(begin + KILN_SPAN_ELEMENTS, t->count));
}

kiln_status kiln_sgd(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *g,
                     const kiln_sgd_options *options) {
  KILN_TRY(kiln__begin(ctx, "sgd"));
  kiln_sgd_options o = kiln_sgd_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  KILN_TRY(check_finite(ctx, "lr", o.lr));
  KILN_TRY(check_finite(ctx, "weight_decay", o.weight_decay));
  KILN_TRY(check_finite(ctx, "grad_scale", o.grad_scale));
  KILN_TRY(check_factor(ctx, "momentum", o.momentum));
  if (o.nesterov && o.momentum == 0) return kiln__fail(ctx, KILN_ERR_OPTION, "nesterov needs momentum > 0");
  if (m && o.momentum == 0) return kiln__fail(ctx, KILN_ERR_OPTION, "m is given but momentum is 0");
  kiln_dtype dtype;
  KILN_TRY(kiln__check_wide(ctx, "w", w, &dtype));
  KILN_TRY(check_dense(ctx, "w", w, w));
  if (o.momentum != 0) KILN_TRY(check_dense(ctx, "m", m, w));
  KILN_TRY(check_dense(ctx, "g", g, w));
  if (ctx->query) return KILN_OK;
  optim_task t = {.kernels = ctx->kernels[dtype].optim, .count = kiln__count(w)};
  t.sgd = (kiln__sgd_args){.w = kiln__data(w), .m = kiln__data(m), .g = kiln__data(g), .grad_scale = o.grad_scale,
                           .weight_decay = o.weight_decay, .momentum = o.momentum, .lr = o.lr,
                           .nesterov = o.nesterov};
  kiln__parallel_for(ctx, kiln__ceil_div(t.count, KILN_SPAN_ELEMENTS), sgd_chunk, &t);
  return KILN_OK;
}

static kiln_status check_adam_options(kiln_context *ctx, const kiln_adam_options *o) {
  if (o->step < 1) return kiln__fail(ctx, KILN_ERR_OPTION, "step is %lld, not 1 or more", (long long)o->step);
  KILN_TRY(check_finite(ctx, "lr", o->lr));
  KILN_TRY(check_factor(ctx, "beta1", o->beta1));
  KILN_TRY(check_factor(ctx, "beta2", o->beta2));
  KILN_TRY(check_finite(ctx, "weight_decay", o->weight_decay));
  KILN_TRY(check_finite(ctx, "grad_scale", o->grad_scale));
  bool usable = (float)o->eps > 0 && isfinite((float)o->eps);
  return usable ? KILN_OK : refuse(ctx, "eps", o->eps, "a positive number in fp32");
}

kiln_status kiln_adam(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *v,
                      const kiln_tensor *g, const kiln_adam_options *options) {
  KILN_TRY(kiln__begin(ctx, "adam"));
  kiln_adam_options o = kiln_adam_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  KILN_TRY(check_adam_options(ctx, &o));
  kiln_dtype dtype;
  KILN_TRY(kiln__check_wide(ctx, "w", w, &dtype));
  KILN_TRY(check_dense(ctx, "w", w, w));
  KILN_TRY(check_dense(ctx, "m", m, w));
  KILN_TRY(check_dense(ctx, "v", v, w));
  KILN_TRY(check_dense(ctx, "g", g, w));
  if (ctx->query) return KILN_OK;
  optim_task t = {.kernels = ctx->kernels[dtype].optim, .count = kiln__count(w)};
  t.adam = (kiln__adam_args){
      .w = kiln__data(w), .m = kiln__data(m), .v = kiln__data(v), .g = kiln__data(g), .grad_scale = o.grad_scale,
      .coupled_decay = o.decoupled ? 0 : o.weight_decay, .decay = o.decoupled ? 1 - o.lr * o.weight_decay : 1,
      .keep_m = o.beta1, .take_g = 1 - o.beta1, .keep_v = o.beta2, .take_g2 = 1 - o.beta2,
      .root_scale = 1 / sqrt(1 - pow(o.beta2, (double)o.step)), .eps = o.eps,
      .step_size = o.lr / (1 - pow(o.beta1, (double)o.step))};
  kiln__parallel_for(ctx, kiln__ceil_div(t.count, KILN_SPAN_ELEMENTS), adam_chunk, &t);
  return KILN_OK;
}
