#include "optim/update.h"

kiln_status kiln_lars(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *g,
                      const kiln_lars_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "lars"));
  kiln_lars_options o = kiln_lars_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  KILN_TRY(kiln__check_finite(ctx, "lr", o.lr));
  KILN_TRY(kiln__check_factor(ctx, "momentum", o.momentum));
  KILN_TRY(kiln__check_not_negative(ctx, "weight_decay", o.weight_decay));
  KILN_TRY(kiln__check_not_negative(ctx, "trust", o.trust));
  KILN_TRY(kiln__check_not_negative(ctx, "eps", o.eps));
  kiln__job job;
  KILN_TRY(kiln__job_begin(ctx, &job, w, g, o.grad_scale, &o.states));
  KILN_TRY(kiln__job_state(ctx, &job, 0, "m", m, &o.states, KILN_ANY_CODEC, true));
  KILN_TRY(kiln__job_sums(ctx, &job));
  if (ctx->query) return KILN_OK;
  double ratio = 1, sums[2];
  if (o.trust != 0) {
    KILN_TRY(kiln__job_run(ctx, &job, KILN_RULE_NORMS, sums));
    double norm_w = sqrt(sums[0]), norm_g = sqrt(sums[1]);
    if (norm_w > 0 && norm_g > 0) ratio = o.trust * norm_w / (norm_g + o.weight_decay * norm_w + o.eps);
  }
  job.u.lr = o.lr;
  job.u.keep[0] = o.momentum;
  job.u.nesterov = o.nesterov;
  job.u.grad_scale *= ratio;
  job.u.l2 = o.weight_decay * ratio;
  return kiln__job_run(ctx, &job, KILN_RULE_MOMENTUM, NULL);
}
