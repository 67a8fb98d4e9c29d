// Checks and threads of activations, gated activations and dropout.
#include "opencl/launch.h"

typedef struct activation_task {
  const kiln__activation_kernels *kernels;
  kiln_activation kind;
  kiln__dropout_args dropout;
} activation_task;

// On an OpenCL device.
static kiln_status map(kiln_context *ctx, const char *kernel, const kiln__spans *spans, kiln_dtype dtype,
                       const kiln__cl_arg *arg) {
  KILN_TRY(kiln__cl_takes_real(ctx, dtype));
  return kiln__cl_map(ctx, kiln__cl_of(KILN_CL_ACTIVATION, dtype), kernel, spans, 8, arg, arg != NULL);
}

// Views of one shape and dtype that fold into rows; the last one is what the others must be like. The first `outputs`
// are written alone.
static kiln_status check(kiln_context *ctx, const char *const *names, const kiln_tensor *const *views, int count,
                         int outputs, activation_task *task, kiln__spans *spans) {
  const kiln_tensor *like = views[count - 1];
  kiln_dtype dtype;
  KILN_TRY(kiln__check_real(ctx, names[count - 1], like, &dtype));
  for (int v = 0; v < count - 1; v++) KILN_TRY(kiln__check_like(ctx, names[v], views[v], names[count - 1], like));
  task->kernels = ctx->kernels[dtype].activation;
  KILN_TRY(kiln__spans_rows(ctx, names, views, count, spans));
  kiln__spans_stream(spans, outputs);
  return KILN_OK;
}

static kiln_status check_kind(kiln_context *ctx, const kiln_activation_options *options, kiln_activation *kind) {
  kiln_activation_options o = kiln_activation_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  *kind = o.kind;
  if ((unsigned)o.kind <= KILN_ACT_SILU) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_OPTION, "unknown activation %d", (int)o.kind);
}

static void fwd_span(void *arg, void *const *p, int64_t first, int64_t n) {
  (void)first;
  const activation_task *t = arg;
  t->kernels->fwd(t->kind, p[0], p[1], n);
}

kiln_status kiln_activation_fwd(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x,
                                const kiln_activation_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "activation_fwd"));
  activation_task t = {0};
  kiln__spans spans;
  KILN_TRY(check_kind(ctx, options, &t.kind));
  KILN_TRY(check(ctx, (const char *[]){"y", "x"}, (const kiln_tensor *[]){y, x}, 2, 1, &t, &spans));
  if (ctx->cl) return map(ctx, "act_fwd", &spans, x->dtype, &CL_INT(t.kind));
  if (!ctx->query) kiln__for_spans(ctx, &spans, fwd_span, &t);
  return KILN_OK;
}

static void bwd_span(void *arg, void *const *p, int64_t first, int64_t n) {
  (void)first;
  const activation_task *t = arg;
  t->kernels->bwd(t->kind, p[0], p[1], p[2], n);
}

kiln_status kiln_activation_bwd(kiln_context *ctx, const kiln_tensor *dx, const kiln_tensor *dy, const kiln_tensor *x,
                                const kiln_activation_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "activation_bwd"));
  activation_task t = {0};
  kiln__spans spans;
  KILN_TRY(check_kind(ctx, options, &t.kind));
  KILN_TRY(check(ctx, (const char *[]){"dx", "dy", "x"}, (const kiln_tensor *[]){dx, dy, x}, 3, 1, &t, &spans));
  if (ctx->cl) return map(ctx, "act_bwd", &spans, x->dtype, &CL_INT(t.kind));
  if (!ctx->query) kiln__for_spans(ctx, &spans, bwd_span, &t);
  return KILN_OK;
}

static void swiglu_fwd_span(void *arg, void *const *p, int64_t first, int64_t n) {
  (void)first;
  const activation_task *t = arg;
  t->kernels->swiglu_fwd(p[0], p[1], p[2], n);
}

kiln_status kiln_swiglu_fwd(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *gate, const kiln_tensor *up) {
  KILN_TRY(kiln__begin_device(ctx, "swiglu_fwd"));
  activation_task t = {0};
  kiln__spans spans;
  KILN_TRY(check(ctx, (const char *[]){"y", "gate", "up"}, (const kiln_tensor *[]){y, gate, up}, 3, 1, &t, &spans));
  if (ctx->cl) return map(ctx, "swiglu_fwd", &spans, up->dtype, NULL);
  if (!ctx->query) kiln__for_spans(ctx, &spans, swiglu_fwd_span, &t);
  return KILN_OK;
}

static void swiglu_bwd_span(void *arg, void *const *p, int64_t first, int64_t n) {
  (void)first;
  const activation_task *t = arg;
  t->kernels->swiglu_bwd(p[0], p[1], p[2], p[3], p[4], n);
}

kiln_status kiln_swiglu_bwd(kiln_context *ctx, const kiln_tensor *dgate, const kiln_tensor *dup, const kiln_tensor *dy,
                            const kiln_tensor *gate, const kiln_tensor *up) {
  KILN_TRY(kiln__begin_device(ctx, "swiglu_bwd"));
  activation_task t = {0};
  kiln__spans spans;
  KILN_TRY(check(ctx, (const char *[]){"dgate", "dup", "dy", "gate", "up"},
                 (const kiln_tensor *[]){dgate, dup, dy, gate, up}, 5, 2, &t, &spans));
  if (ctx->cl) return map(ctx, "swiglu_bwd", &spans, up->dtype, NULL);
  if (!ctx->query) kiln__for_spans(ctx, &spans, swiglu_bwd_span, &t);
  return KILN_OK;
}

static void dropout_span(void *arg, void *const *p, int64_t first, int64_t n) {
  const activation_task *t = arg;
  t->kernels->dropout(&t->dropout, p[0], p[1], first, n);
}

kiln_status kiln_dropout(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x,
                         const kiln_dropout_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "dropout"));
  kiln_dropout_options o = kiln_dropout_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  if (!(o.probability >= 0 && o.probability < 1)) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "the probability %g is not in [0, 1)", (double)o.probability);
  }
  activation_task t = {0};
  kiln__spans spans;
  KILN_TRY(check(ctx, (const char *[]){"y", "x"}, (const kiln_tensor *[]){y, x}, 2, 1, &t, &spans));
  t.dropout = (kiln__dropout_args){
      .random = kiln__random_of(o.seed, o.step, o.site),
      .threshold = (uint32_t)(o.probability * 0x1p32),
      .scale = 1 / (1 - (double)o.probability)};
  if (ctx->cl) {
    const kiln__dropout_args *a = &t.dropout;
    KILN_TRY(kiln__cl_takes_real(ctx, x->dtype));
    return kiln__cl_map(ctx, kiln__cl_of(KILN_CL_ACTIVATION, x->dtype), "dropout", &spans, 1,
                        (const kiln__cl_arg[]){CL_RANDOM(a->random), CL_STRUCT(a->threshold),
                                               CL_FLOAT((float)a->scale)}, 4);
  }
  if (!ctx->query) kiln__for_spans(ctx, &spans, dropout_span, &t);
  return KILN_OK;
}
