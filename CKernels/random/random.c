// Philox, and uniform and normal numbers made of it. Plain C for every device, so that all give the same bits.
#include "core/parallel.h"
#include "opencl/device.h"
#include "random/philox.h"

#include <stdlib.h>

// The same bits on every CPU.
#pragma STDC FP_CONTRACT OFF

enum { BLOCK = 8192 };  // elements of one chunk: a multiple of KILN_PHILOX_WORDS

void kiln_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]) {
  uint32_t words[KILN_PHILOX_WORDS];
  kiln__philox(words, counter, key);
  memcpy(out, words, 4 * sizeof *out);
}

typedef struct random_task {
  // Elements from 4 words; low and high, or mean and standard deviation.
  void (*draw)(double out[4], const uint32_t words[4], kiln_dtype dtype, double a, double b);
  double a, b;
  kiln_dtype dtype;
  void *y;
  int64_t count;
  kiln__random random;
} random_task;

// v as the dtype's nearest number that lies in [low, high).
static double clamp(double v, kiln_dtype dtype, double low, double high) {
  if (dtype == KILN_F64) return v < high ? v : nextafter(high, low);
  float f = (float)v;
  if (f >= high) f = nextafterf(f, -INFINITY);
  if (f < low) f = nextafterf(f, INFINITY);
  return f;
}

static void draw_uniform(double out[4], const uint32_t words[4], kiln_dtype dtype, double low, double high) {
  for (int i = 0; i < 4; i++) {
    double u = dtype == KILN_F32 ? (words[i] >> 8) * 0x1p-24 : words[i] * 0x1p-32;
    out[i] = clamp(low + (high - low) * u, dtype, low, high);
  }
}

// Box and Muller: two normal numbers from two uniform ones, the first of which is never 0.
static void draw_normal(double out[4], const uint32_t words[4], kiln_dtype dtype, double mean, double std) {
  (void)dtype;
  for (int i = 0; i < 4; i += 2) {
    double radius = std * sqrt(-2 * log((words[i] + 0.5) * 0x1p-32)), angle = 2 * M_PI * (words[i + 1] * 0x1p-32);
    out[i] = mean + radius * cos(angle);
    out[i + 1] = mean + radius * sin(angle);
  }
}

static void random_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const random_task *t = arg;
  int64_t begin = chunk * BLOCK, end = kiln__min(begin + BLOCK, t->count);
  uint32_t words[KILN_PHILOX_WORDS];
  double out[KILN_PHILOX_WORDS];
  for (int64_t i = begin; i < end; i += KILN_PHILOX_WORDS) {
    kiln__random_run(words, &t->random, i);
    for (int w = 0; w < KILN_PHILOX_WORDS; w += 4) t->draw(out + w, words + w, t->dtype, t->a, t->b);
    int64_t n = kiln__min(KILN_PHILOX_WORDS, end - i);
    if (t->dtype == KILN_F64) memcpy((double *)t->y + i, out, (size_t)n * sizeof(double));
    else for (int64_t j = 0; j < n; j++) ((float *)t->y)[i + j] = (float)out[j];
  }
}

// For a device the host draws, so that the bits are its.
static kiln_status run_opencl(kiln_context *ctx, random_task *t) {
  if (ctx->query) return KILN_OK;
  size_t bytes = (size_t)t->count * kiln_dtype_size(t->dtype);
  void *device = t->y;
  t->y = malloc(bytes + 1);
  if (!t->y) return kiln__fail(ctx, KILN_ERR_MEMORY, "%zu bytes could not be had", bytes);
  kiln__parallel_for(ctx, kiln__ceil_div(t->count, BLOCK), random_chunk, t);
  kiln_status status = kiln__cl_upload(ctx, device, t->y, bytes);
  free(t->y);
  return status;
}

static kiln_status run(kiln_context *ctx, random_task *t, const kiln_tensor *y, const kiln_random_options *options) {
  kiln_random_options o = kiln_random_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  KILN_TRY(kiln__check_wide(ctx, "y", y, &t->dtype));
  KILN_TRY(kiln__check_dense(ctx, "y", y));
  t->y = kiln__data(y);
  t->count = kiln__count(y);
  t->random = kiln__random_of(o.seed, o.step, o.site);
  if (ctx->cl) return run_opencl(ctx, t);
  if (!ctx->query) kiln__parallel_for(ctx, kiln__ceil_div(t->count, BLOCK), random_chunk, t);
  return KILN_OK;
}

kiln_status kiln_random_uniform(kiln_context *ctx, const kiln_tensor *y, double low, double high,
                                const kiln_random_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "random_uniform"));
  if (!(low < high && isfinite(high - low))) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "[%g, %g) is not a finite interval", low, high);
  }
  return run(ctx, &(random_task){.draw = draw_uniform, .a = low, .b = high}, y, options);
}

kiln_status kiln_random_normal(kiln_context *ctx, const kiln_tensor *y, double mean, double std,
                               const kiln_random_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "random_normal"));
  if (!isfinite(mean) || !(std >= 0 && isfinite(std))) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "no normal distribution has mean %g and standard deviation %g", mean, std);
  }
  return run(ctx, &(random_task){.draw = draw_normal, .a = mean, .b = std}, y, options);
}
