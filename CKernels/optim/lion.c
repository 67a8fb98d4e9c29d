#include "optim/update.h"

kiln_status kiln_lion(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *g,
                      const kiln_lion_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "lion"));
  kiln_lion_options o = kiln_lion_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  KILN_TRY(kiln__check_rates(ctx, o.lr, o.beta1, o.beta2, o.weight_decay));
  kiln__job job;
  KILN_TRY(kiln__job_begin(ctx, &job, w, g, o.grad_scale, &o.states));
  KILN_TRY(kiln__job_state(ctx, &job, 0, "m", m, &o.states, KILN_ANY_CODEC, true));
  if (ctx->query) return KILN_OK;
  kiln__job_average(&job, 0, o.beta1);
  kiln__job_average(&job, 1, o.beta2);
  job.u.lr = o.lr;
  job.u.decay = 1 - o.lr * o.weight_decay;
  return kiln__job_run(ctx, &job, KILN_RULE_LION, NULL);
}
