// Checks, frequencies and threads of the rotary position embedding.
#include "opencl/launch.h"

typedef struct rope_task {
  const kiln__rope_kernels *kernels;
  kiln__rope_args args;
  int64_t rows, rows_per_chunk, table_rows_per_chunk;
  kiln_dtype wide;       // of the tables
  double *frequencies;   // [half]
  const int32_t *positions;
  void *cos, *sin;       // [t, half]
  double direction;      // 1, or -1 for the backward
} rope_task;

// Radians per position of plane i, after scaling.
static double frequency(const kiln_rope_options *o, int64_t i, int64_t half) {
  double f = pow(o->base, -(double)i / (double)half);
  if (o->scaling == KILN_ROPE_LINEAR) return f / o->factor;
  if (o->scaling != KILN_ROPE_LLAMA3) return f;
  double turns = (double)o->original_context * f / 6.283185307179586;  // original context / wavelength
  if (turns > o->high_freq_factor) return f;
  if (turns < o->low_freq_factor) return f / o->factor;
  double kept = (turns - o->low_freq_factor) / (o->high_freq_factor - o->low_freq_factor);
  return (1 - kept) * f / o->factor + kept * f;
}

static bool positive(double x) { return isfinite(x) && x > 0; }

static kiln_status check_options(kiln_context *ctx, const kiln_rope_options *o) {
  if (!positive(o->base)) return kiln__fail(ctx, KILN_ERR_OPTION, "base is %g, not above 0", o->base);
  if (o->scaling == KILN_ROPE_DEFAULT) return KILN_OK;
  if (o->scaling != KILN_ROPE_LINEAR && o->scaling != KILN_ROPE_LLAMA3) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "unknown scaling %d", (int)o->scaling);
  }
  if (!positive(o->factor)) return kiln__fail(ctx, KILN_ERR_OPTION, "factor is %g, not above 0", o->factor);
  if (o->scaling == KILN_ROPE_LINEAR) return KILN_OK;
  if (!positive(o->low_freq_factor) || !positive(o->high_freq_factor) || o->low_freq_factor >= o->high_freq_factor) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "low_freq_factor %g must be above 0 and below high_freq_factor %g",
                      o->low_freq_factor, o->high_freq_factor);
  }
  if (o->original_context > 0) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_OPTION, "original_context is %lld, not above 0", (long long)o->original_context);
}

static kiln_status check_views(kiln_context *ctx, const char *y_name, const kiln_tensor *y, const char *x_name,
                               const kiln_tensor *x, const kiln_tensor *positions) {
  kiln_dtype dtype;
  KILN_TRY(kiln__check_real(ctx, x_name, x, &dtype));
  KILN_TRY(kiln__check_like(ctx, y_name, y, x_name, x));
  if (x->rank != 4 || x->shape[3] % 2) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "%s is %s, not [b, t, h, d] with d even", x_name, kiln__shape_text(x).s);
  }
  if (x->shape[3] > 0 && (x->strides[3] != 1 || y->strides[3] != 1)) {
    return kiln__fail(ctx, KILN_ERR_STRIDE, "%s or %s has a stride other than 1 in its last dimension", x_name, y_name);
  }
  if (!positions) return kiln__fail(ctx, KILN_ERR_NULL, "positions is NULL");
  return kiln__check_vector(ctx, "positions", positions, KILN_I32, x->shape[1]);
}

// cos and sin, good for rounding to fp32: of the angle less n quarter turns by Taylor's polynomials, which then change
// places and signs by n. Free of branches, so that a loop over it becomes vector code.
static inline void turn(double angle, float *c, float *s) {
  const double shifter = 0x1.8p52;  // adding it rounds to an integer, which the low bits hold
  double shifted = angle * M_2_PI + shifter, n = shifted - shifter;
  double r = (angle - n * 0x1.921fb544p0) - n * 0x1.0b4611a626331p-34, q = r * r;
  double sine = r * (1 + q * (-1.0 / 6 + q * (1.0 / 120 + q * (-1.0 / 5040 + q * (1.0 / 362880)))));
  double cosine = 1 + q * (-1.0 / 2 + q * (1.0 / 24 + q * (-1.0 / 720 + q * (1.0 / 40320 + q * (-1.0 / 3628800)))));
  uint64_t quarter;
  memcpy(&quarter, &shifted, sizeof quarter);
  double swapped_cosine = quarter & 1 ? sine : cosine, swapped_sine = quarter & 1 ? cosine : sine;
  *c = (float)((quarter + 1) & 2 ? -swapped_cosine : swapped_cosine);
  *s = (float)(quarter & 2 ? -swapped_sine : swapped_sine);
}

// cos and sin of a chunk of positions.
static void table_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  rope_task *t = arg;
  int64_t half = t->args.half, begin = chunk * t->table_rows_per_chunk;
  int64_t end = kiln__min(begin + t->table_rows_per_chunk, t->args.t);
  for (int64_t row = begin; row < end; row++) {
    double position = t->direction * t->positions[row];
    if (t->wide == KILN_F64) {
      double *c = (double *)t->cos + row * half, *s = (double *)t->sin + row * half;
      for (int64_t i = 0; i < half; i++) c[i] = cos(position * t->frequencies[i]);
      for (int64_t i = 0; i < half; i++) s[i] = sin(position * t->frequencies[i]);
    } else {
      float *c = (float *)t->cos + row * half, *s = (float *)t->sin + row * half;
      for (int64_t i = 0; i < half; i++) turn(position * t->frequencies[i], c + i, s + i);
    }
  }
}

static void rotate_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  rope_task *t = arg;
  int64_t begin = chunk * t->rows_per_chunk;
  t->kernels->rotate(&t->args, begin, kiln__min(begin + t->rows_per_chunk, t->rows));
}

static kiln_status take_scratch(kiln_context *ctx, rope_task *t) {
  size_t table = (size_t)(t->args.t * t->args.half) * kiln_dtype_size(t->wide);
  KILN_TRY(kiln__scratch(ctx, (size_t)t->args.half * sizeof(double), (void **)&t->frequencies));
  KILN_TRY(kiln__scratch(ctx, table, &t->cos));
  return kiln__scratch(ctx, table, &t->sin);
}

// The frequencies come from the host.
static kiln_status rope_opencl(kiln_context *ctx, const rope_task *t, const kiln_rope_options *o, kiln_dtype dtype) {
  enum { MOST = 1024 };
  KILN_TRY(kiln__cl_takes_real(ctx, dtype));
  const kiln__rope_args *a = &t->args;
  if (a->half > MOST) return kiln__fail(ctx, KILN_ERR_SHAPE, "OpenCL takes heads of %d elements at most", 2 * MOST);
  double frequencies[MOST];
  for (int64_t i = 0; i < a->half; i++) frequencies[i] = frequency(o, i, a->half);
  KILN_TRY(kiln__cl_upload(ctx, t->frequencies, frequencies, (size_t)a->half * sizeof *frequencies));
  KILN_TRY(KILN_CL_LAUNCH(ctx, KILN_CL_ROPE, "rope_table", kiln__cl_each(a->half, a->t, 1), CL_AT(t->cos),
                          CL_AT(t->sin), CL_AT(t->positions), CL_AT(t->frequencies), CL_LONG(a->half),
                          CL_DOUBLE(t->direction)));
  int64_t heads[] = {a->t, a->h, a->half, a->y_b, a->y_t, a->y_h, a->x_b, a->x_t, a->x_h};
  return KILN_CL_LAUNCH(ctx, kiln__cl_of(KILN_CL_ROPE, dtype), "rope_rotate", kiln__cl_each(a->half, t->rows, a->h),
                        CL_AT(a->y), CL_AT(a->x), CL_AT(t->cos), CL_AT(t->sin), CL_STRUCT(heads));
}

static kiln_status rope(kiln_context *ctx, const char *y_name, const kiln_tensor *y, const char *x_name,
                        const kiln_tensor *x, const kiln_tensor *positions, const kiln_rope_options *options,
                        double direction) {
  kiln_rope_options o = kiln_rope_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  KILN_TRY(check_options(ctx, &o));
  KILN_TRY(check_views(ctx, y_name, y, x_name, x, positions));
  if (kiln__count(x) == 0) return KILN_OK;
  rope_task t = {.kernels = ctx->kernels[x->dtype].rope, .wide = kiln__wide(x->dtype),
                 .rows = x->shape[0] * x->shape[1], .positions = kiln__data(positions), .direction = direction};
  t.args = (kiln__rope_args){.y = kiln__data(y), .x = kiln__data(x), .t = x->shape[1], .h = x->shape[2],
                             .half = x->shape[3] / 2, .y_b = y->strides[0], .y_t = y->strides[1],
                             .y_h = y->strides[2], .x_b = x->strides[0], .x_t = x->strides[1], .x_h = x->strides[2]};
  KILN_TRY(take_scratch(ctx, &t));
  if (ctx->cl) return rope_opencl(ctx, &t, &o, x->dtype);
  if (ctx->query) return KILN_OK;
  t.args.cos = t.cos;
  t.args.sin = t.sin;
  for (int64_t i = 0; i < t.args.half; i++) t.frequencies[i] = frequency(&o, i, t.args.half);
  t.table_rows_per_chunk = kiln__ceil_div(1024, t.args.half);
  kiln__parallel_for(ctx, kiln__ceil_div(t.args.t, t.table_rows_per_chunk), table_chunk, &t);
  t.rows_per_chunk = kiln__rows_per_chunk(t.args.h * x->shape[3]);
  kiln__parallel_for(ctx, kiln__ceil_div(t.rows, t.rows_per_chunk), rotate_chunk, &t);
  return KILN_OK;
}

kiln_status kiln_rope_fwd(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x, const kiln_tensor *positions,
                          const kiln_rope_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "rope_fwd"));
  return rope(ctx, "y", y, "x", x, positions, options, 1);
}

kiln_status kiln_rope_bwd(kiln_context *ctx, const kiln_tensor *dx, const kiln_tensor *dy,
                          const kiln_tensor *positions, const kiln_rope_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "rope_bwd"));
  return rope(ctx, "dx", dx, "dy", dy, positions, options, -1);
}
