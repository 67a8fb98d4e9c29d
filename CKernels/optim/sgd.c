#include "optim/update.h"

static kiln_status check_options(kiln_context *ctx, const kiln_sgd_options *o) {
  KILN_TRY(kiln__check_finite(ctx, "lr", o->lr));
  KILN_TRY(kiln__check_finite(ctx, "weight_decay", o->weight_decay));
  KILN_TRY(kiln__check_factor(ctx, "momentum", o->momentum));
  KILN_TRY(kiln__check_not_negative(ctx, "l1", o->l1));
  KILN_TRY(kiln__check_not_negative(ctx, "group", o->group));
  if (o->box && !(o->low <= o->high)) return kiln__fail(ctx, KILN_ERR_OPTION, "[%g, %g] is empty", o->low, o->high);
  if (o->nesterov && o->momentum == 0) return kiln__fail(ctx, KILN_ERR_OPTION, "nesterov needs momentum > 0");
  if (o->heavy_ball && o->momentum == 0) return kiln__fail(ctx, KILN_ERR_OPTION, "heavy_ball needs momentum > 0");
  if (o->nesterov && o->heavy_ball) return kiln__fail(ctx, KILN_ERR_OPTION, "nesterov and heavy_ball are both set");
  return KILN_OK;
}

typedef struct shrink_task {
  const kiln__job *job;
  int64_t rows, cols;
  double threshold;
} shrink_task;

static void shrink_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const shrink_task *t = arg;
  int64_t per_chunk = kiln__rows_per_chunk(t->cols), begin = chunk * per_chunk;
  char *w = (char *)t->job->u.w.values + begin * t->cols * (int64_t)kiln_dtype_size(t->job->dtype);
  t->job->kernels->shrink_rows(w, kiln__min(per_chunk, t->rows - begin), t->cols, t->threshold);
}

kiln_status kiln_sgd(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *g,
                     const kiln_sgd_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "sgd"));
  kiln_sgd_options o = kiln_sgd_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  KILN_TRY(check_options(ctx, &o));
  if (m && o.momentum == 0) return kiln__fail(ctx, KILN_ERR_OPTION, "m is given but momentum is 0");
  kiln__job job;
  KILN_TRY(kiln__job_begin(ctx, &job, w, g, o.grad_scale, &o.states));
  if (o.momentum != 0) KILN_TRY(kiln__job_state(ctx, &job, 0, "m", m, &o.states, KILN_ANY_CODEC, true));
  if (o.group != 0 && w->rank < 2) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "group needs rows, and w is %s", kiln__shape_text(w).s);
  }
  if (o.group != 0 && job.u.w.codec != KILN_CODEC_PLAIN) {
    return kiln__fail(ctx, KILN_ERR_DTYPE, "group needs w in f32, and it is %s", kiln_dtype_name(w->dtype));
  }
  if (ctx->query) return KILN_OK;
  job.u.lr = o.lr;
  job.u.l2 = o.weight_decay;
  job.u.keep[0] = o.momentum;
  job.u.nesterov = o.nesterov;
  job.u.l1 = o.lr * o.l1;
  if (o.box) {
    job.u.low = o.low;
    job.u.high = o.high;
  }
  kiln__rule rule = o.heavy_ball ? KILN_RULE_HEAVY_BALL : o.momentum != 0 ? KILN_RULE_MOMENTUM : KILN_RULE_DESCENT;
  KILN_TRY(kiln__job_run(ctx, &job, rule, NULL));
  if (o.group == 0 || job.count == 0) return KILN_OK;
  int64_t cols = w->shape[w->rank - 1];
  shrink_task t = {&job, job.count / cols, cols, o.lr * o.group};
  if (ctx->cl) {
    return KILN_CL_LAUNCH(ctx, KILN_CL_OPTIM, "shrink_rows", ((kiln__cl_grid){t.rows, 1, 1, 1}),
                          CL_AT(job.u.w.values), CL_LONG(cols), CL_DOUBLE(t.threshold));
  }
  kiln__parallel_for(ctx, kiln__ceil_div(t.rows, kiln__rows_per_chunk(cols)), shrink_chunk, &t);
  return KILN_OK;
}
