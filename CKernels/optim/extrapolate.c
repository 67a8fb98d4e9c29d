#include "optim/update.h"

kiln_status kiln_extrapolate(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *x, double factor) {
  KILN_TRY(kiln__begin_device(ctx, "extrapolate"));
  KILN_TRY(kiln__check_finite(ctx, "factor", factor));
  kiln__job job;
  KILN_TRY(kiln__job_of(ctx, &job, w));
  KILN_TRY(kiln__job_plain_state(ctx, &job, 0, "x", x));
  if (ctx->query) return KILN_OK;
  job.u.blend = factor;
  return kiln__job_run(ctx, &job, KILN_RULE_EXTRAPOLATE, NULL);
}
