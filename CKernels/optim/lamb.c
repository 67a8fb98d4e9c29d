#include "optim/update.h"

kiln_status kiln_lamb(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *v,
                      const kiln_tensor *g, const kiln_lamb_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "lamb"));
  kiln_lamb_options o = kiln_lamb_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  KILN_TRY(kiln__check_step(ctx, o.step));
  KILN_TRY(kiln__check_rates(ctx, o.lr, o.beta1, o.beta2, o.weight_decay));
  KILN_TRY(kiln__check_eps(ctx, "eps", o.eps));
  kiln__job job;
  KILN_TRY(kiln__job_begin(ctx, &job, w, g, o.grad_scale, &o.states));
  KILN_TRY(kiln__job_state(ctx, &job, 0, "m", m, &o.states, KILN_PLAIN_OR_BF16, true));
  KILN_TRY(kiln__job_state(ctx, &job, 1, "v", v, &o.states, KILN_PLAIN_OR_BF16, false));
  KILN_TRY(kiln__job_sums(ctx, &job));
  if (ctx->query) return KILN_OK;
  kiln__job_average(&job, 0, o.beta1);
  kiln__job_average(&job, 1, o.beta2);
  job.u.mean_scale = 1 / (1 - pow(o.beta1, (double)o.step));
  job.u.root_scale = 1 / sqrt(1 - pow(o.beta2, (double)o.step));
  job.u.eps = o.eps;
  job.u.weight_decay = o.weight_decay;
  double sums[2];
  KILN_TRY(kiln__job_run(ctx, &job, KILN_RULE_LAMB_MOMENTS, sums));
  double ratio = o.adapt && sums[0] > 0 && sums[1] > 0 ? sqrt(sums[0] / sums[1]) : 1;
  job.u.lr = o.lr * (o.clip_trust && ratio > 1 ? 1 : ratio);
  return kiln__job_run(ctx, &job, KILN_RULE_LAMB_APPLY, NULL);
}
