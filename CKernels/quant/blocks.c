// Dense data in blocks of 256 with a scale each: the dynamic 8-bit map, and activation groups.
#include "quant/block.h"
#include "quant/opencl.h"

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

static int64_t block_length(const block_task *t, int64_t block) {
  return kiln__min(KILN_QUANT_BLOCK, t->count - block * KILN_QUANT_BLOCK);
}
static void *block_data(const block_task *t, int64_t block) {
  return kiln__at(t->x, t->dtype, block * KILN_QUANT_BLOCK);
}

static void dynamic_quantize(const void *task, int64_t block) {
  const block_task *t = task;
  int64_t n = block_length(t, block);
  float buffer[KILN_QUANT_BLOCK];
  const float *x = kiln__read_block(t->kernels, buffer, block_data(t, block), t->dtype, n);
  t->kernels->to_dynamic(t->codes + block * KILN_QUANT_BLOCK, (float *)t->scales + block, x, t->map, n);
}

static void dynamic_dequantize(const void *task, int64_t block) {
  const block_task *t = task;
  int64_t n = block_length(t, block);
  float buffer[KILN_QUANT_BLOCK], *y = kiln__open_block(buffer, block_data(t, block), t->dtype);
  t->kernels->from_dynamic(y, t->codes + block * KILN_QUANT_BLOCK, ((float *)t->scales)[block], t->map, n);
  kiln__write_block(t->kernels, block_data(t, block), y, t->dtype, n);
}

static uint8_t *group_codes(const block_task *t, int64_t block) {
  return t->codes + block * (KILN_QUANT_BLOCK / 8 * t->bits);
}

static void group_quantize(const void *task, int64_t block) {
  const block_task *t = task;
  int64_t n = block_length(t, block);
  float buffer[KILN_QUANT_BLOCK];
  uint32_t words[KILN_RANDOM_BUFFER(KILN_QUANT_BLOCK)];
  const float *x = kiln__read_block(t->kernels, buffer, block_data(t, block), t->dtype, n);
  t->kernels->to_group(group_codes(t, block), (kiln__group_scale *)t->scales + block, x, t->bits,
                       t->kernels->words(words, &t->random, block * KILN_QUANT_BLOCK, n), n);
}

static void group_dequantize(const void *task, int64_t block) {
  const block_task *t = task;
  int64_t n = block_length(t, block);
  float buffer[KILN_QUANT_BLOCK], *y = kiln__open_block(buffer, block_data(t, block), t->dtype);
  t->kernels->from_group(y, group_codes(t, block), ((kiln__group_scale *)t->scales)[block], t->bits, n);
  kiln__write_block(t->kernels, block_data(t, block), y, t->dtype, n);
}

static kiln_status check(kiln_context *ctx, const char *name, const kiln_tensor *x, block_task *t) {
  KILN_TRY(kiln__check_real(ctx, name, x, &t->dtype));
  KILN_TRY(kiln__check_dense(ctx, name, x));
  t->kernels = ctx->kernels[KILN_F32].quant;
  t->x = kiln__data(x);
  t->count = kiln__count(x);
  return KILN_OK;
}

static kiln_status run(kiln_context *ctx, const block_task *t, kiln__block_body *body) {
  if (!ctx->query) kiln__for_blocks(ctx, kiln__ceil_div(t->count, KILN_QUANT_BLOCK), KILN_QUANT_BLOCK, body, t);
  return KILN_OK;
}

static kiln_status groups_opencl(kiln_context *ctx, const block_task *t, bool quantizes) {
  KILN_TRY(kiln__cl_takes(ctx, t->dtype));
  if (quantizes) {
    return KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "group_quantize",
                          kiln__cl_each(kiln__ceil_div(t->count, KILN_QUANT_BLOCK), 1, 1), CL_AT(t->codes),
                          CL_AT(t->scales), CL_AT(t->x), CL_LONG(t->count), CL_INT(t->bits), CL_RANDOM(t->random));
  }
  return KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "group_dequantize", kiln__cl_each(t->count, 1, 1), CL_AT(t->x),
                        CL_AT(t->codes), CL_AT(t->scales), CL_LONG(t->count), CL_INT(t->bits));
}

static kiln_status run_dynamic(kiln_context *ctx, const char *name, const kiln_tensor *x, const kiln_tensor *codes,
                               const kiln_tensor *scales, bool is_signed, kiln__block_body *body) {
  kiln__map_kind kind = is_signed ? KILN_MAP_SIGNED : KILN_MAP_UNSIGNED;
  block_task t = {0};
  KILN_TRY(check(ctx, name, x, &t));
  KILN_TRY(kiln__check_count(ctx, "codes", codes, KILN_U8, t.count));
  KILN_TRY(kiln__check_count(ctx, "scales", scales, KILN_F32, kiln__ceil_div(t.count, KILN_QUANT_BLOCK)));
  t.codes = kiln__data(codes);
  t.scales = kiln__data(scales);
  if (ctx->cl) {
    KILN_TRY(kiln__cl_takes(ctx, t.dtype));
    if (body == dynamic_quantize) return kiln__to_dynamic_opencl(ctx, t.codes, t.scales, t.x, kind, t.count);
    return kiln__from_dynamic_opencl(ctx, t.x, t.codes, t.scales, kind, t.count);
  }
  kiln__dynamic_map map;
  kiln__dynamic_map_make(&map, kind);
  t.map = &map;
  return run(ctx, &t, body);
}

kiln_status kiln_quantize_dynamic(kiln_context *ctx, const kiln_tensor *codes, const kiln_tensor *scales,
                                  const kiln_tensor *x, bool is_signed) {
  KILN_TRY(kiln__begin_device(ctx, "quantize_dynamic"));
  return run_dynamic(ctx, "x", x, codes, scales, is_signed, dynamic_quantize);
}

kiln_status kiln_dequantize_dynamic(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *codes,
                                    const kiln_tensor *scales, bool is_signed) {
  KILN_TRY(kiln__begin_device(ctx, "dequantize_dynamic"));
  return run_dynamic(ctx, "y", y, codes, scales, is_signed, dynamic_dequantize);
}

static kiln_status run_groups(kiln_context *ctx, const char *name, const kiln_tensor *x, const kiln_tensor *codes,
                              const kiln_tensor *scales, block_task *t, kiln__block_body *body) {
  if (t->bits != 8 && t->bits != 4 && t->bits != 2) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "bits is %d, not 8, 4 or 2", (int)t->bits);
  }
  KILN_TRY(check(ctx, name, x, t));
  int64_t groups = kiln__ceil_div(t->count, KILN_QUANT_BLOCK);
  KILN_TRY(kiln__check_count(ctx, "codes", codes, KILN_U8, groups * (KILN_QUANT_BLOCK / 8 * t->bits)));
  KILN_TRY(kiln__check_count(ctx, "scales", scales, KILN_BF16, groups * 2));
  t->codes = kiln__data(codes);
  t->scales = kiln__data(scales);
  return ctx->cl ? groups_opencl(ctx, t, body == group_quantize) : run(ctx, t, body);
}

kiln_status kiln_quantize_groups(kiln_context *ctx, const kiln_tensor *codes, const kiln_tensor *scales,
                                 const kiln_tensor *x, int32_t bits, const kiln_rounding_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "quantize_groups"));
  block_task t = {.bits = bits};
  kiln_rounding rounding;
  KILN_TRY(kiln__rounding(ctx, options, &rounding, &t.random));
  return run_groups(ctx, "x", x, codes, scales, &t, group_quantize);
}

kiln_status kiln_dequantize_groups(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *codes,
                                   const kiln_tensor *scales, int32_t bits) {
  KILN_TRY(kiln__begin_device(ctx, "dequantize_groups"));
  block_task t = {.bits = bits};
  return run_groups(ctx, "y", y, codes, scales, &t, group_dequantize);
}
