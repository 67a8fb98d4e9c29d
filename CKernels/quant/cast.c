// Casts, with a scale and both ways of rounding, and the scales of 8-bit floats.
#include "elementwise/spans.h"
#include "quant/block.h"
#include "quant/opencl.h"

typedef struct cast_task {
  const kiln__quant_kernels *kernels;
  kiln_dtype to, from;
  float scale;
  bool stochastic;
  kiln__random random;
} cast_task;

static void cast_block(const cast_task *t, void *y, const void *x, int64_t first, int64_t n) {
  float in[KILN_QUANT_BLOCK], out[KILN_QUANT_BLOCK];
  uint32_t buffer[KILN_RANDOM_BUFFER(KILN_QUANT_BLOCK)];
  const uint32_t *words = t->stochastic ? t->kernels->words(buffer, &t->random, first, n) : NULL;
  if (kiln__is_short(t->to)) {
    t->kernels->narrow(y, kiln__read_block(t->kernels, in, x, t->from, n), t->scale, t->to, words, n);
  } else {
    float *values = kiln__open_block(out, y, t->to);
    if (kiln__is_short(t->from)) {
      t->kernels->widen(values, x, t->scale, t->from, n);
    } else {
      const float *source = kiln__read_block(t->kernels, in, x, t->from, n);
      for (int64_t i = 0; i < n; i++) values[i] = source[i] * t->scale;
    }
    kiln__write_block(t->kernels, y, values, t->to, n);
  }
}

static void cast_span(void *arg, void *const *p, int64_t first, int64_t n) {
  const cast_task *t = arg;
  if (t->from == KILN_F32 && kiln__is_short(t->to) && !t->stochastic) {
    t->kernels->narrow(p[0], p[1], t->scale, t->to, NULL, n);
  } else if (t->to == KILN_F32 && kiln__is_short(t->from)) {
    t->kernels->widen(p[0], p[1], t->scale, t->from, n);
  } else {
    for (int64_t i = 0; i < n; i += KILN_QUANT_BLOCK) {
      cast_block(t, kiln__at(p[0], t->to, i), kiln__at(p[1], t->from, i), first + i,
                 kiln__min(KILN_QUANT_BLOCK, n - i));
    }
  }
}

static bool is_computed(kiln_dtype dtype) { return dtype == KILN_F32 || dtype == KILN_F64 || dtype == KILN_BF16; }

kiln_status kiln_cast(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x, const kiln_tensor *scale,
                      const kiln_rounding_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "cast"));
  cast_task t = {.kernels = ctx->kernels[KILN_F32].quant, .scale = 1};
  kiln_rounding rounding;
  KILN_TRY(kiln__rounding(ctx, options, &rounding, &t.random));
  KILN_TRY(kiln__check(ctx, "x", x));
  KILN_TRY(kiln__check(ctx, "y", y));
  if (scale) KILN_TRY(kiln__check_count(ctx, "scale", scale, KILN_F32, 1));
  t.to = y->dtype;
  t.from = x->dtype;
  t.stochastic = rounding == KILN_ROUND_STOCHASTIC;
  bool takes = kiln__is_floating(t.to) && kiln__is_floating(t.from) && (is_computed(t.to) || is_computed(t.from));
  if (!takes) {
    return kiln__fail(ctx, KILN_ERR_DTYPE, "no cast from %s to %s", kiln_dtype_name(t.from), kiln_dtype_name(t.to));
  }
  if (t.stochastic && !kiln__is_short(t.to)) {
    return kiln__fail(ctx, KILN_ERR_DTYPE, "y is %s, to which nothing is rounded stochastically; take a type of 8 or "
                      "16 bits", kiln_dtype_name(t.to));
  }
  if (!kiln__same_shape(y, x)) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "shapes differ: y is %s, x is %s", kiln__shape_text(y).s,
                      kiln__shape_text(x).s);
  }
  kiln__spans spans;
  KILN_TRY(kiln__spans_rows(ctx, (const char *[]){"y", "x"}, (const kiln_tensor *[]){y, x}, 2, &spans));
  if (ctx->cl) {
    return kiln__cast_opencl(ctx, y, x, scale ? kiln__data(scale) : NULL, t.stochastic ? &t.random : NULL);
  }
  if (ctx->query) return KILN_OK;
  if (scale) t.scale = *(const float *)kiln__data(scale);
  kiln__spans_stream(&spans, 1);
  kiln__for_spans(ctx, &spans, cast_span, &t);
  return KILN_OK;
}

typedef struct absmax_task {
  const kiln__quant_kernels *kernels;
  const void *x;
  kiln_dtype dtype;
  int64_t count;
  float *partial;
} absmax_task;

static void absmax_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const absmax_task *t = arg;
  int64_t begin = chunk * KILN_QUANT_CHUNK, end = kiln__min(begin + KILN_QUANT_CHUNK, t->count);
  float buffer[KILN_QUANT_BLOCK], block[KILN_QUANT_CHUNK / KILN_QUANT_BLOCK];
  int64_t step = t->dtype == KILN_F32 ? KILN_QUANT_CHUNK : KILN_QUANT_BLOCK, blocks = 0;
  for (int64_t i = begin; i < end; i += step) {
    int64_t n = kiln__min(step, end - i);
    const float *x = kiln__read_block(t->kernels, buffer, kiln__at(t->x, t->dtype, i), t->dtype, n);
    block[blocks++] = t->kernels->absmax(x, n);
  }
  t->partial[chunk] = t->kernels->absmax(block, blocks);
}

static kiln_status absmax_opencl(kiln_context *ctx, absmax_task *t, void *out) {
  enum { STRETCH = 4096 };
  int64_t parts = kiln__ceil_div(t->count, STRETCH);
  KILN_TRY(kiln__cl_takes(ctx, t->dtype));
  KILN_TRY(kiln__scratch(ctx, (size_t)parts * sizeof(float), (void **)&t->partial));
  KILN_TRY(KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "absmax_parts", ((kiln__cl_grid){parts, 1, 1, 1}), CL_AT(t->partial),
                          CL_AT(t->x), CL_LONG(t->count)));
  return KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "absmax_all", ((kiln__cl_grid){1, 1, 1, 1}), CL_AT(out),
                        CL_AT(t->partial), CL_LONG(parts));
}

kiln_status kiln_absmax(kiln_context *ctx, const kiln_tensor *out, const kiln_tensor *x) {
  KILN_TRY(kiln__begin_device(ctx, "absmax"));
  absmax_task t = {.kernels = ctx->kernels[KILN_F32].quant};
  KILN_TRY(kiln__check_real(ctx, "x", x, &t.dtype));
  KILN_TRY(kiln__check_dense(ctx, "x", x));
  KILN_TRY(kiln__check_count(ctx, "out", out, KILN_F32, 1));
  t.x = kiln__data(x);
  t.count = kiln__count(x);
  if (ctx->cl) return absmax_opencl(ctx, &t, kiln__data(out));
  int64_t chunks = kiln__ceil_div(t.count, KILN_QUANT_CHUNK);
  KILN_TRY(kiln__scratch(ctx, (size_t)chunks * sizeof(float), (void **)&t.partial));
  if (ctx->query) return KILN_OK;
  kiln__parallel_for(ctx, chunks, absmax_chunk, &t);
  *(float *)kiln__data(out) = t.kernels->absmax(t.partial, chunks);
  return KILN_OK;
}

kiln_status kiln_float8_scale(kiln_context *ctx, const kiln_tensor *scale, const kiln_tensor *inverse,
                              const kiln_tensor *amax, kiln_dtype dtype, int32_t margin) {
  KILN_TRY(kiln__begin_device(ctx, "float8_scale"));
  KILN_TRY(kiln__check_count(ctx, "scale", scale, KILN_F32, 1));
  KILN_TRY(kiln__check_count(ctx, "inverse", inverse, KILN_F32, 1));
  KILN_TRY(kiln__check_dtype(ctx, "amax", amax, KILN_F32));
  KILN_TRY(kiln__check_dense(ctx, "amax", amax));
  if (dtype != KILN_F8_E4M3 && dtype != KILN_F8_E5M2) {
    return kiln__fail(ctx, KILN_ERR_DTYPE, "dtype is %s, not f8_e4m3 or f8_e5m2", kiln_dtype_name(dtype));
  }
  if (margin < 0 || margin > 64) return kiln__fail(ctx, KILN_ERR_OPTION, "margin is %d, not in 0...64", (int)margin);
  float largest = dtype == KILN_F8_E4M3 ? 448 : 57344;
  if (ctx->cl) {
    return KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "float8_scale", ((kiln__cl_grid){1, 1, 1, 1}),
                          CL_AT(kiln__data(scale)), CL_AT(kiln__data(inverse)), CL_AT(kiln__data(amax)),
                          CL_LONG(kiln__count(amax)), CL_FLOAT(largest), CL_INT(margin));
  }
  if (ctx->query) return KILN_OK;
  float most = ctx->kernels[KILN_F32].quant->absmax(kiln__data(amax), kiln__count(amax));
  float s = ldexpf(largest / most, -margin), i = 1 / s;
  if (most > 0 && isfinite(most) && s > 0 && isfinite(s) && isfinite(i)) {
    *(float *)kiln__data(scale) = s;
    *(float *)kiln__data(inverse) = i;
  }
  return KILN_OK;
}
