#include "optim/update.h"

#include "quant/opencl.h"

kiln_status kiln__check_finite(kiln_context *ctx, const char *name, double value) {
  if (isfinite(value)) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_OPTION, "%s is %g, not a finite number", name, value);
}

kiln_status kiln__check_factor(kiln_context *ctx, const char *name, double value) {
  if (value >= 0 && value < 1) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_OPTION, "%s is %g, not in [0, 1)", name, value);
}

kiln_status kiln__check_not_negative(kiln_context *ctx, const char *name, double value) {
  if (value >= 0 && isfinite(value)) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_OPTION, "%s is %g, not a finite number >= 0", name, value);
}

kiln_status kiln__check_eps(kiln_context *ctx, const char *name, double value) {
  if ((float)value > 0 && isfinite((float)value)) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_OPTION, "%s is %g, not a positive number in fp32", name, value);
}

kiln_status kiln__check_rates(kiln_context *ctx, double lr, double beta1, double beta2, double weight_decay) {
  KILN_TRY(kiln__check_finite(ctx, "lr", lr));
  KILN_TRY(kiln__check_factor(ctx, "beta1", beta1));
  KILN_TRY(kiln__check_factor(ctx, "beta2", beta2));
  return kiln__check_finite(ctx, "weight_decay", weight_decay);
}

kiln_status kiln__check_step(kiln_context *ctx, int64_t step) {
  if (step >= 1) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_OPTION, "step is %lld, not 1 or more", (long long)step);
}

// Dense, and of w's number of elements.
static kiln_status check_dense(kiln_context *ctx, const char *name, const kiln_tensor *t, const kiln__job *job) {
  if (kiln__count(t) != job->count) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "numbers of elements differ: %s is %s, w is %s", name,
                      kiln__shape_text(t).s, kiln__shape_text(job->w).s);
  }
  return kiln__check_dense(ctx, name, t);
}

static kiln_status job_fill(kiln_context *ctx, kiln__job *job, const kiln_tensor *w, kiln_dtype dtype) {
  if (ctx->cl) KILN_TRY(kiln__cl_takes(ctx, w->dtype));
  *job = (kiln__job){.w = w, .dtype = dtype, .kernels = ctx->kernels[dtype].optim, .count = kiln__count(w),
                     .u = {.w = {.values = kiln__data(w)}, .decay = 1, .grad_scale = 1, .low = -INFINITY,
                           .high = INFINITY}};
  return kiln__check_dense(ctx, "w", w);
}

kiln_status kiln__job_of(kiln_context *ctx, kiln__job *job, const kiln_tensor *w) {
  kiln_dtype dtype;
  KILN_TRY(kiln__check_wide(ctx, "w", w, &dtype));
  return job_fill(ctx, job, w, dtype);
}

// A job that updates w in BF16.
static kiln_status narrow_job(kiln_context *ctx, kiln__job *job, const kiln_tensor *w, const kiln_state_options *o) {
  KILN_TRY(job_fill(ctx, job, w, KILN_F32));
  kiln__state *state = &job->u.w;
  if (!o->remainder) {
    job->random[1] = kiln__random_of(o->seed, o->step, o->site + 1);
    state->codec = KILN_CODEC_STOCHASTIC;
    state->random = &job->random[1];
    return KILN_OK;
  }
  KILN_TRY(kiln__check_dtype(ctx, "remainder", o->remainder, KILN_BF16));
  KILN_TRY(check_dense(ctx, "remainder", o->remainder, job));
  state->codec = KILN_CODEC_SPLIT;
  state->remainder = kiln__data(o->remainder);
  return KILN_OK;
}

kiln_status kiln__job_begin(kiln_context *ctx, kiln__job *job, const kiln_tensor *w, const kiln_tensor *g,
                            double grad_scale, const kiln_state_options *options) {
  KILN_TRY(kiln__check(ctx, "w", w));
  if (w->dtype == KILN_BF16 && options) KILN_TRY(narrow_job(ctx, job, w, options));
  else KILN_TRY(kiln__job_of(ctx, job, w));
  KILN_TRY(kiln__check_dtype(ctx, "g", g, job->dtype));
  KILN_TRY(check_dense(ctx, "g", g, job));
  KILN_TRY(kiln__check_finite(ctx, "grad_scale", grad_scale));
  job->u.g = kiln__data(g);
  job->u.grad_scale = grad_scale;
  return KILN_OK;
}

static kiln_status codec_of(kiln_context *ctx, const kiln__job *job, const char *name, const kiln_tensor *t,
                            const kiln_state_options *o, kiln__codecs codecs, kiln__codec *codec) {
  bool narrow = job->dtype == KILN_F32;
  *codec = KILN_CODEC_PLAIN;
  if (t->dtype == job->dtype) return KILN_OK;
  *codec = o->stochastic ? KILN_CODEC_STOCHASTIC : KILN_CODEC_BF16;
  if (t->dtype == KILN_BF16 && narrow && codecs >= KILN_PLAIN_OR_BF16) return KILN_OK;
  *codec = KILN_CODEC_8BIT;
  if (t->dtype == KILN_U8 && narrow && codecs == KILN_ANY_CODEC) return KILN_OK;
  const char *others[] = {"", " or bf16", ", bf16 or u8"};
  return kiln__fail(ctx, KILN_ERR_DTYPE, "%s is %s, but this method keeps it as %s%s", name, kiln_dtype_name(t->dtype),
                    kiln_dtype_name(job->dtype), narrow ? others[codecs] : "");
}

kiln_status kiln__job_state(kiln_context *ctx, kiln__job *job, int k, const char *name, const kiln_tensor *t,
                            const kiln_state_options *o, kiln__codecs codecs, bool is_signed) {
  KILN_TRY(kiln__check(ctx, name, t));
  kiln__state *state = &job->u.state[k];
  KILN_TRY(codec_of(ctx, job, name, t, o, codecs, &state->codec));
  KILN_TRY(check_dense(ctx, name, t, job));
  if (ctx->cl && state->codec != KILN_CODEC_8BIT) KILN_TRY(kiln__cl_takes(ctx, t->dtype));
  state->values = kiln__data(t);
  if (state->codec == KILN_CODEC_STOCHASTIC) {
    job->random[0] = kiln__random_of(o->seed, o->step, o->site);
    state->random = &job->random[0];
    state->half = 16 * k;
  }
  if (state->codec != KILN_CODEC_8BIT) return KILN_OK;
  if (!o->scales[k]) return kiln__fail(ctx, KILN_ERR_NULL, "%s is u8, but the scales of its blocks are NULL", name);
  KILN_TRY(kiln__check_vector(ctx, "scales", o->scales[k], KILN_F32, kiln__ceil_div(job->count, KILN_QUANT_BLOCK)));
  state->scales = kiln__data(o->scales[k]);
  kiln__map_kind kind = is_signed ? KILN_MAP_SIGNED : o->linear ? KILN_MAP_LINEAR : KILN_MAP_UNSIGNED;
  if (ctx->cl) return kiln__map_opencl(ctx, kind, (const void **)&state->map);
  kiln__dynamic_map *map;
  KILN_TRY(kiln__scratch(ctx, sizeof *map, (void **)&map));
  if (ctx->query) return KILN_OK;
  kiln__dynamic_map_make(map, kind);
  state->map = map;
  return KILN_OK;
}

kiln_status kiln__job_plain_state(kiln_context *ctx, kiln__job *job, int k, const char *name, const kiln_tensor *t) {
  return kiln__job_state(ctx, job, k, name, t, &(kiln_state_options){0}, KILN_PLAIN_ONLY, true);
}

kiln_status kiln__job_sums(kiln_context *ctx, kiln__job *job) {
  size_t spans = (size_t)kiln__ceil_div(job->count, KILN_SPAN_ELEMENTS);
  return kiln__scratch(ctx, spans * 2 * sizeof *job->partial, (void **)&job->partial);
}

void kiln__job_average(kiln__job *job, int k, double beta) {
  job->u.keep[k] = beta;
  job->u.take[k] = 1 - beta;
}

typedef struct job_task {
  const kiln__job *job;
  kiln__rule rule;
} job_task;

static void job_span(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const job_task *t = arg;
  const kiln__job *job = t->job;
  int64_t begin = chunk * KILN_SPAN_ELEMENTS, end = kiln__min(begin + KILN_SPAN_ELEMENTS, job->count);
  double sums[2] = {0, 0};
  job->kernels->update[t->rule](&job->u, begin, end, sums);
  if (kiln__traits(t->rule).sums) memcpy(job->partial + 2 * chunk, sums, sizeof sums);
}

kiln__cl_update kiln__update_rounded(const kiln__update *u) {
  return (kiln__cl_update){
      .grad_scale = (float)u->grad_scale, .l2 = (float)u->l2, .decay = (float)u->decay, .lr = (float)u->lr,
      .keep = {(float)u->keep[0], (float)u->keep[1]}, .take = {(float)u->take[0], (float)u->take[1]},
      .mean_scale = (float)u->mean_scale, .root_scale = (float)u->root_scale, .eps = (float)u->eps,
      .weight_decay = (float)u->weight_decay, .blend = (float)u->blend, .pull = (float)u->pull, .l1 = (float)u->l1,
      .low = (float)u->low, .high = (float)u->high, .nesterov = u->nesterov, .first = u->first};
}

// Rules whose states may be kept in 8 bits.
static kiln_status run_opencl_8bit(kiln_context *ctx, const kiln__job *job, kiln__rule rule, const kiln__cl_update *u) {
  static const char *const names[KILN_RULES] = {
      [KILN_RULE_MOMENTUM] = "update8_MOMENTUM", [KILN_RULE_HEAVY_BALL] = "update8_HEAVY_BALL",
      [KILN_RULE_LION] = "update8_LION", [KILN_RULE_ADAM] = "update8_ADAM",
      [KILN_RULE_MUON_DIRECTION] = "update8_MUON_DIRECTION"};
  enum { GROUP = 4 };
  const kiln__state *m = &job->u.state[0], *v = &job->u.state[1];
  if (kiln__traits(rule).states > 1 && v->codec != KILN_CODEC_8BIT) {
    return kiln__fail(ctx, KILN_ERR_DTYPE, "OpenCL keeps both states in 8 bits, or none");
  }
  int64_t blocks = kiln__ceil_div(job->count, KILN_QUANT_BLOCK);
  return KILN_CL_LAUNCH(ctx, kiln__cl_of(KILN_CL_OPTIM, KILN_U8), names[rule],
                        ((kiln__cl_grid){kiln__ceil_div(blocks, GROUP), 1, 1, GROUP}), CL_AT(job->u.w.values),
                        CL_AT(job->u.g), CL_AT(job->u.out), CL_AT(m->values), CL_AT(v->values), CL_AT(m->scales),
                        CL_AT(v->scales), CL_AT(m->map), CL_AT(v->map), CL_LONG(job->count), CL_STRUCT(*u));
}

// Adds pairs to two sums, in their order.
static void add_up(double sums[2], const double *pairs, int64_t count) {
  for (int64_t i = 0; i < count; i++) sums[i % 2] += pairs[i];
}

kiln_status kiln__update_read_sums(kiln_context *ctx, double sums[2], const double *pairs, int64_t count) {
  enum { RUN = 512 };
  sums[0] = sums[1] = 0;
  for (int64_t begin = 0; begin < 2 * count; begin += RUN) {
    double parts[RUN];
    int64_t some = kiln__min(RUN, 2 * count - begin);
    KILN_TRY(kiln__cl_download(ctx, parts, pairs + begin, (size_t)some * sizeof *parts));
    add_up(sums, parts, some);
  }
  return KILN_OK;
}

static kiln_status run_opencl(kiln_context *ctx, const kiln__job *job, kiln__rule rule, double sums[2]) {
#define NAME(NAME, ...) [KILN_RULE_##NAME] = "update_" #NAME,
  static const char *const names[KILN_RULES] = {KILN_EACH_RULE(NAME)};
#undef NAME
  kiln__rule_traits traits = kiln__traits(rule);
  enum { AT_A_TIME = 8 };
  int64_t stretch = traits.sums ? KILN_SPAN_ELEMENTS : AT_A_TIME, items = kiln__ceil_div(job->count, stretch);
  kiln__cl_update u = kiln__update_rounded(&job->u);
  bool is_8bit = traits.states > 0 && job->u.state[0].codec == KILN_CODEC_8BIT;
  if (is_8bit) return run_opencl_8bit(ctx, job, rule, &u);
  KILN_TRY(KILN_CL_LAUNCH(ctx, KILN_CL_OPTIM, names[rule], kiln__cl_each(items, 1, 1),
                          CL_AT(job->u.w.values), CL_AT(job->u.g), CL_AT(job->u.out), CL_AT(job->u.state[0].values),
                          CL_AT(job->u.state[1].values), CL_AT(traits.sums ? job->partial : NULL), CL_LONG(job->count),
                          CL_LONG(stretch), CL_STRUCT(u)));
  return sums ? kiln__update_read_sums(ctx, sums, job->partial, items) : KILN_OK;
}

kiln_status kiln__job_run(kiln_context *ctx, const kiln__job *job, kiln__rule rule, double sums[2]) {
  if (ctx->cl) return run_opencl(ctx, job, rule, sums);
  int64_t spans = kiln__ceil_div(job->count, KILN_SPAN_ELEMENTS);
  kiln__parallel_for(ctx, spans, job_span, &(job_task){job, rule});
  if (!sums) return KILN_OK;
  sums[0] = sums[1] = 0;
  add_up(sums, job->partial, 2 * spans);
  return KILN_OK;
}
