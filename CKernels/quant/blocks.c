// Dense data in blocks of 256 with a scale each: the dynamic 8-bit map, and activation groups.
#include "quant/block.h"

typedef struct block_task {
  const kiln__quant_kernels *kernels;
  kiln_dtype dtype;         // of x or y
  char *x;
  uint8_t *codes;
  void *scales;             // float, or kiln__group_scale
  int64_t count;
  const kiln__dynamic_map *map;
  int32_t bits;
  kiln__random random;
} block_task;

static void dynamic_quantize(const block_task *t, int64_t block, const float *x, int64_t n) {
  t->kernels->to_dynamic(t->codes + block * KILN_QUANT_BLOCK, (float *)t->scales + block, x, t->map, n);
}

static void dynamic_dequantize(const block_task *t, int64_t block, float *y, int64_t n) {
  t->kernels->from_dynamic(y, t->codes + block * KILN_QUANT_BLOCK, ((float *)t->scales)[block], t->map, n);
}

static uint8_t *group_codes(const block_task *t, int64_t block) {
  return t->codes + block * (KILN_QUANT_BLOCK / 8 * t->bits);
}

static void group_quantize(const block_task *t, int64_t block, const float *x, int64_t n) {
  uint32_t buffer[KILN_RANDOM_BUFFER(KILN_QUANT_BLOCK)];
  const uint32_t *words = t->kernels->words(buffer, &t->random, block * KILN_QUANT_BLOCK, n);
  t->kernels->to_group(group_codes(t, block), (kiln__group_scale *)t->scales + block, x, t->bits, words, n);
}

static void group_dequantize(const block_task *t, int64_t block, float *y, int64_t n) {
  t->kernels->from_group(y, group_codes(t, block), ((kiln__group_scale *)t->scales)[block], t->bits, n);
}

enum { BLOCKS_PER_CHUNK = KILN_QUANT_CHUNK / KILN_QUANT_BLOCK };

static void quantize_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const block_task *t = arg;
  float buffer[KILN_QUANT_BLOCK];
  int64_t last = kiln__min((chunk + 1) * KILN_QUANT_CHUNK, t->count);
  for (int64_t i = chunk * KILN_QUANT_CHUNK; i < last; i += KILN_QUANT_BLOCK) {
    int64_t n = kiln__min(KILN_QUANT_BLOCK, last - i);
    const float *x = kiln__read_block(t->kernels, buffer, kiln__at(t->x, t->dtype, i), t->dtype, n);
    if (t->map) dynamic_quantize(t, i / KILN_QUANT_BLOCK, x, n);
    else group_quantize(t, i / KILN_QUANT_BLOCK, x, n);
  }
}

static void dequantize_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const block_task *t = arg;
  float buffer[KILN_QUANT_BLOCK];
  int64_t last = kiln__min((chunk + 1) * KILN_QUANT_CHUNK, t->count);
  for (int64_t i = chunk * KILN_QUANT_CHUNK; i < last; i += KILN_QUANT_BLOCK) {
    int64_t n = kiln__min(KILN_QUANT_BLOCK, last - i);
    void *data = kiln__at(t->x, t->dtype, i);
    float *y = kiln__open_block(buffer, data, t->dtype);
    if (t->map) dynamic_dequantize(t, i / KILN_QUANT_BLOCK, y, n);
    else group_dequantize(t, i / KILN_QUANT_BLOCK, y, n);
    kiln__write_block(t->kernels, data, y, t->dtype, n);
  }
}

static kiln_status check(kiln_context *ctx, const char *name, const kiln_tensor *x, block_task *t) {
  KILN_TRY(kiln__check_real(ctx, name, x, &t->dtype));
  KILN_TRY(kiln__check_dense(ctx, name, x));
  t->kernels = ctx->kernels[KILN_F32].quant;
  t->x = kiln__data(x);
  t->count = kiln__count(x);
  return KILN_OK;
}

static kiln_status run(kiln_context *ctx, block_task *t, kiln__body body) {
  if (!ctx->query) kiln__parallel_for(ctx, kiln__ceil_div(t->count, KILN_QUANT_CHUNK), body, t);
  return KILN_OK;
}

static kiln_status run_dynamic(kiln_context *ctx, const char *name, const kiln_tensor *x, const kiln_tensor *codes,
                               const kiln_tensor *scales, bool is_signed, kiln__body body) {
  block_task t = {0};
  KILN_TRY(check(ctx, name, x, &t));
  KILN_TRY(kiln__check_count(ctx, "codes", codes, KILN_U8, t.count));
  KILN_TRY(kiln__check_count(ctx, "scales", scales, KILN_F32, kiln__ceil_div(t.count, KILN_QUANT_BLOCK)));
  kiln__dynamic_map map;
  kiln__dynamic_map_make(&map, is_signed);
  t.map = &map;
  t.codes = kiln__data(codes);
  t.scales = kiln__data(scales);
  return run(ctx, &t, body);
}

kiln_status kiln_quantize_dynamic(kiln_context *ctx, const kiln_tensor *codes, const kiln_tensor *scales,
                                  const kiln_tensor *x, bool is_signed) {
  KILN_TRY(kiln__begin(ctx, "quantize_dynamic"));
  return run_dynamic(ctx, "x", x, codes, scales, is_signed, quantize_chunk);
}

kiln_status kiln_dequantize_dynamic(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *codes,
                                    const kiln_tensor *scales, bool is_signed) {
  KILN_TRY(kiln__begin(ctx, "dequantize_dynamic"));
  return run_dynamic(ctx, "y", y, codes, scales, is_signed, dequantize_chunk);
}

static kiln_status run_groups(kiln_context *ctx, const char *name, const kiln_tensor *x, const kiln_tensor *codes,
                              const kiln_tensor *scales, block_task *t, kiln__body body) {
  if (t->bits != 8 && t->bits != 4 && t->bits != 2) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "bits is %d, not 8, 4 or 2", (int)t->bits);
  }
  KILN_TRY(check(ctx, name, x, t));
  int64_t groups = kiln__ceil_div(t->count, KILN_QUANT_BLOCK);
  KILN_TRY(kiln__check_count(ctx, "codes", codes, KILN_U8, groups * (KILN_QUANT_BLOCK / 8 * t->bits)));
  KILN_TRY(kiln__check_count(ctx, "scales", scales, KILN_BF16, groups * 2));
  t->codes = kiln__data(codes);
  t->scales = kiln__data(scales);
  return run(ctx, t, body);
}

kiln_status kiln_quantize_groups(kiln_context *ctx, const kiln_tensor *codes, const kiln_tensor *scales,
                                 const kiln_tensor *x, int32_t bits, const kiln_rounding_options *options) {
  KILN_TRY(kiln__begin(ctx, "quantize_groups"));
  block_task t = {.bits = bits};
  kiln_rounding rounding;
  KILN_TRY(kiln__rounding(ctx, options, &rounding, &t.random));
  return run_groups(ctx, "x", x, codes, scales, &t, quantize_chunk);
}

kiln_status kiln_dequantize_groups(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *codes,
                                   const kiln_tensor *scales, int32_t bits) {
  KILN_TRY(kiln__begin(ctx, "dequantize_groups"));
  block_task t = {.bits = bits};
  return run_groups(ctx, "y", y, codes, scales, &t, dequantize_chunk);
}
