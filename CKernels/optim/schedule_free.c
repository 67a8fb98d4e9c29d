#include "optim/update.h"

kiln_status kiln_schedule_free(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *v, const kiln_tensor *z,
                               const kiln_tensor *g, const kiln_schedule_free_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "schedule_free"));
  kiln_schedule_free_options o = kiln_schedule_free_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  KILN_TRY(kiln__check_step(ctx, o.step));
  KILN_TRY(kiln__check_rates(ctx, o.lr, o.beta1, o.beta2, o.weight_decay));
  KILN_TRY(kiln__check_eps(ctx, "eps", o.eps));
  if (!(o.share >= 0 && o.share <= 1)) return kiln__fail(ctx, KILN_ERR_OPTION, "share is %g, not in [0, 1]", o.share);
  kiln__job job;
  KILN_TRY(kiln__job_begin(ctx, &job, w, g, o.grad_scale, NULL));
  KILN_TRY(kiln__job_plain_state(ctx, &job, 0, "v", v));
  KILN_TRY(kiln__job_plain_state(ctx, &job, 1, "z", z));
  if (ctx->query) return KILN_OK;
  kiln__job_average(&job, 1, o.beta2);
  job.u.root_scale = 1 / sqrt(1 - pow(o.beta2, (double)o.step));
  job.u.eps = o.eps;
  job.u.weight_decay = o.weight_decay;
  job.u.first = o.step == 1;
  job.u.blend = o.share;
  job.u.lr = o.lr;
  job.u.pull = o.lr * (o.beta1 * (1 - o.share) - 1);
  return kiln__job_run(ctx, &job, KILN_RULE_SCHEDULE_FREE, NULL);
}

kiln_status kiln_schedule_free_average(kiln_context *ctx, const kiln_tensor *x, const kiln_tensor *w,
                                       const kiln_tensor *z, double beta1) {
  KILN_TRY(kiln__begin_device(ctx, "schedule_free_average"));
  if (!(beta1 > 0 && beta1 < 1)) return kiln__fail(ctx, KILN_ERR_OPTION, "beta1 is %g, not in (0, 1)", beta1);
  kiln__job job;
  KILN_TRY(kiln__job_of(ctx, &job, w));
  KILN_TRY(kiln__job_plain_state(ctx, &job, 0, "z", z));
  KILN_TRY(kiln__check_like(ctx, "x", x, "w", w));
  KILN_TRY(kiln__check_dense(ctx, "x", x));
  if (ctx->query) return KILN_OK;
  job.u.out = kiln__data(x);
  job.u.blend = 1 - 1 / beta1;
  return kiln__job_run(ctx, &job, KILN_RULE_AVERAGE, NULL);
}
