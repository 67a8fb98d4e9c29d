#include "optim/update.h"

static kiln_status check_options(kiln_context *ctx, const kiln_adam_options *o) {
  KILN_TRY(kiln__check_step(ctx, o->step));
  KILN_TRY(kiln__check_rates(ctx, o->lr, o->beta1, o->beta2, o->weight_decay));
  return kiln__check_eps(ctx, "eps", o->eps);
}

kiln_status kiln_adam(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *v,
                      const kiln_tensor *g, const kiln_adam_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "adam"));
  kiln_adam_options o = kiln_adam_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  KILN_TRY(check_options(ctx, &o));
  kiln__job job;
  KILN_TRY(kiln__job_begin(ctx, &job, w, g, o.grad_scale, &o.states));
  KILN_TRY(kiln__job_state(ctx, &job, 0, "m", m, &o.states, KILN_ANY_CODEC, true));
  KILN_TRY(kiln__job_state(ctx, &job, 1, "v", v, &o.states, KILN_ANY_CODEC, false));
  if (ctx->query) return KILN_OK;
  kiln__job_average(&job, 0, o.beta1);
  kiln__job_average(&job, 1, o.beta2);
  job.u.l2 = o.decoupled ? 0 : o.weight_decay;
  job.u.decay = o.decoupled ? 1 - o.lr * o.weight_decay : 1;
  job.u.root_scale = 1 / sqrt(1 - pow(o.beta2, (double)o.step));
  job.u.eps = o.eps;
  job.u.lr = o.lr / (1 - pow(o.beta1, (double)o.step));
  return kiln__job_run(ctx, &job, KILN_RULE_ADAM, NULL);
}
