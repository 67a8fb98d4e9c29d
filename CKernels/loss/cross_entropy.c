// Softmax cross-entropy: checks, threads and the sum over the rows.
#include "loss/cross_entropy.h"

static kiln_status check_targets(kiln_context *ctx, const kiln__loss_call *call) {
  for (int64_t i = 0; i < call->n; i++) {
    int32_t target = call->targets[i];
    if (target == call->options.ignore || (target >= 0 && target < call->v)) continue;
    return kiln__fail(ctx, KILN_ERR_INDEX, "targets[%lld] is %d, outside 0 ..< %lld and not %d (ignored)", (long long)i,
                      target, (long long)call->v, call->options.ignore);
  }
  return KILN_OK;
}

kiln_status kiln__loss_begin(kiln_context *ctx, kiln__loss_call *call, const kiln_tensor *loss,
                             const kiln_tensor *targets, const kiln_cross_entropy_options *options) {
  call->options = kiln_cross_entropy_defaults();
  KILN_TRY(kiln__options(ctx, &call->options, sizeof call->options, options));
  if (!isfinite(call->options.scale)) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "scale is %g, not a finite number", call->options.scale);
  }
  KILN_TRY(kiln__check_dtype(ctx, "loss", loss, kiln__wide(call->dtype)));
  if (kiln__count(loss) != 1) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "loss is %s, not one element", kiln__shape_text(loss).s);
  }
  if (!targets) return kiln__fail(ctx, KILN_ERR_NULL, "targets is NULL");
  KILN_TRY(kiln__check_vector(ctx, "targets", targets, KILN_I32, call->n));
  KILN_TRY(kiln__check_vector(ctx, "options.losses", call->options.losses, kiln__wide(call->dtype), call->n));
  call->kernels = ctx->kernels[call->dtype].loss;
  call->loss = loss;
  call->targets = kiln__data(targets);
  KILN_TRY(kiln__scratch(ctx, (size_t)call->n * sizeof(double), (void **)&call->terms));
  // On a device nobody can look.
  return ctx->query || ctx->cl ? KILN_OK : check_targets(ctx, call);
}

typedef struct rows_task {
  const kiln__loss_kernels *kernels;
  kiln__loss_args args;
  int64_t rows, rows_per_chunk;
} rows_task;

static void rows_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const rows_task *t = arg;
  int64_t begin = chunk * t->rows_per_chunk;
  t->kernels->cross_entropy(&t->args, begin, kiln__min(begin + t->rows_per_chunk, t->rows));
}

static void each_row(const kiln_context *ctx, const kiln__loss_call *call, const kiln__rows *dlogits,
                     const kiln__rows *logits) {
  rows_task t = {.kernels = call->kernels, .rows = logits->rows, .rows_per_chunk = kiln__rows_per_chunk(call->v)};
  t.args = (kiln__loss_args){
      .dlogits = dlogits->data, .lddlogits = dlogits->stride, .logits = logits->data, .ldlogits = logits->stride,
      .targets = call->targets, .terms = call->terms, .losses = kiln__data(call->options.losses), .v = call->v,
      .scale = call->options.scale, .ignore = call->options.ignore};
  kiln__parallel_for(ctx, kiln__ceil_div(t.rows, t.rows_per_chunk), rows_chunk, &t);
}

void kiln__loss_end(const kiln__loss_call *call) {
  double sum = 0;
  for (int64_t i = 0; i < call->n; i++) sum += call->terms[i];
  sum *= call->options.scale;
  if (call->dtype == KILN_F64) *(double *)kiln__data(call->loss) = sum;
  else *(float *)kiln__data(call->loss) = (float)sum;
}

kiln_status kiln_cross_entropy(kiln_context *ctx, const kiln_tensor *loss, const kiln_tensor *dlogits,
                               const kiln_tensor *logits, const kiln_tensor *targets,
                               const kiln_cross_entropy_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "cross_entropy"));
  kiln__loss_call call = {0};
  kiln__rows rows, drows;
  KILN_TRY(kiln__check_real(ctx, "logits", logits, &call.dtype));
  if (logits->rank != 2) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "logits is %s, not of two dimensions", kiln__shape_text(logits).s);
  }
  if (dlogits) KILN_TRY(kiln__check_like(ctx, "dlogits", dlogits, "logits", logits));
  KILN_TRY(kiln__fold(ctx, "logits", logits, &rows));
  KILN_TRY(kiln__fold(ctx, "dlogits", dlogits, &drows));
  call.n = rows.rows;
  call.v = rows.cols;
  KILN_TRY(kiln__loss_begin(ctx, &call, loss, targets, options));
  if (ctx->cl) {
    KILN_TRY(kiln__loss_rows_opencl(ctx, &call, call.dtype, 0, &drows, &rows));
    return kiln__loss_end_opencl(ctx, &call);
  }
  if (ctx->query) return KILN_OK;
  each_row(ctx, &call, &drows, &rows);
  kiln__loss_end(&call);
  return KILN_OK;
}
