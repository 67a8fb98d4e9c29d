// NF4. Weights are quantised once, so by plain C, which gives the same bits on every CPU.
#include "quant/block.h"
#include "quant/opencl.h"

#pragma STDC FP_CONTRACT OFF

const float kiln__nf4[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f, -0.28444138169288635f,
    -0.18477343022823334f, -0.09105003625154495f, 0.0f, 0.07958029955625534f, 0.16093020141124725f,
    0.24611230194568634f, 0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};

enum { SCALES_BLOCK = KILN_QUANT_BLOCK };

typedef struct nf4_task {
  const kiln__quant_kernels *kernels;
  kiln_dtype dtype;   // of x or y
  char *x;
  uint8_t *codes;
  float *absmax;      // of the blocks of x
  int64_t count, blocks;
} nf4_task;

// The nearest numbers' codes, ties to the lower ones: how many midpoints are less. Whole blocks make vectors of it.
static void nearest(int32_t code[KILN_NF4_BLOCK], const float v[KILN_NF4_BLOCK]) {
  memset(code, 0, KILN_NF4_BLOCK * sizeof *code);
  for (int k = 0; k < 15; k++) {
    float midpoint = (kiln__nf4[k] + kiln__nf4[k + 1]) / 2;
    for (int i = 0; i < KILN_NF4_BLOCK; i++) code[i] += v[i] > midpoint;
  }
}

static void quantize_block(const void *task, int64_t block) {
  const nf4_task *t = task;
  int64_t begin = block * KILN_NF4_BLOCK, n = kiln__min(KILN_NF4_BLOCK, t->count - begin);
  float buffer[KILN_NF4_BLOCK];
  const float *x = kiln__read_block(t->kernels, buffer, kiln__at(t->x, t->dtype, begin), t->dtype, n);
  float amax = t->kernels->absmax(x, n), scaled[KILN_NF4_BLOCK] = {0};
  bool finite = amax <= FLT_MAX;
  float inverse = 1 / fmaxf(amax, 1e-38f);
  for (int64_t i = 0; i < n && finite; i++) scaled[i] = x[i] * inverse;
  int32_t code[KILN_NF4_BLOCK];
  nearest(code, scaled);
  t->absmax[block] = finite ? amax : NAN;
  for (int64_t i = 0; i < n; i += 2) t->codes[(begin + i) / 2] = (uint8_t)(code[i] << 4 | code[i + 1]);
}

static void dequantize_block(const void *task, int64_t block) {
  const nf4_task *t = task;
  int64_t begin = block * KILN_NF4_BLOCK, n = kiln__min(KILN_NF4_BLOCK, t->count - begin);
  float buffer[KILN_NF4_BLOCK];
  void *y = kiln__at(t->x, t->dtype, begin);
  float *values = kiln__open_block(buffer, y, t->dtype);
  t->kernels->from_nf4(values, t->codes + begin / 2, t->absmax[block], n);
  kiln__write_block(t->kernels, y, values, t->dtype, n);
}

static kiln_status check(kiln_context *ctx, const char *name, const kiln_tensor *x, const kiln_tensor *codes,
                         const kiln_tensor *absmax, const kiln_tensor *scales, const kiln_tensor *offset,
                         nf4_task *t) {
  KILN_TRY(kiln__check_real(ctx, name, x, &t->dtype));
  KILN_TRY(kiln__check_dense(ctx, name, x));
  t->kernels = ctx->kernels[KILN_F32].quant;
  t->count = kiln__count(x);
  t->blocks = kiln__ceil_div(t->count, KILN_NF4_BLOCK);
  t->x = kiln__data(x);
  KILN_TRY(kiln__check_count(ctx, "codes", codes, KILN_U8, kiln__ceil_div(t->count, 2)));
  t->codes = kiln__data(codes);
  if (!scales != !offset) return kiln__fail(ctx, KILN_ERR_NULL, "%s is NULL", scales ? "offset" : "scales");
  KILN_TRY(kiln__check_count(ctx, "absmax", absmax, scales ? KILN_U8 : KILN_F32, t->blocks));
  if (!scales) {
    t->absmax = kiln__data(absmax);
    return KILN_OK;
  }
  KILN_TRY(kiln__check_count(ctx, "scales", scales, KILN_F32, kiln__ceil_div(t->blocks, SCALES_BLOCK)));
  KILN_TRY(kiln__check_count(ctx, "offset", offset, KILN_F32, 1));
  return kiln__scratch(ctx, (size_t)t->blocks * sizeof(float), (void **)&t->absmax);
}

// The second quantisation: what is left of each absmax without their mean.
static void quantize_absmax(const nf4_task *t, uint8_t *codes, float *scales, float *offset) {
  kiln__dynamic_map map;
  kiln__dynamic_map_make(&map, KILN_MAP_SIGNED);
  double sum = 0;
  for (int64_t i = 0; i < t->blocks; i++) sum += t->absmax[i];
  *offset = t->blocks > 0 ? (float)(sum / (double)t->blocks) : 0;
  for (int64_t i = 0; i < t->blocks; i++) t->absmax[i] -= *offset;
  for (int64_t i = 0; i < t->blocks; i += SCALES_BLOCK) {
    int64_t n = kiln__min(SCALES_BLOCK, t->blocks - i);
    t->kernels->to_dynamic(codes + i, scales + i / SCALES_BLOCK, t->absmax + i, &map, n);
  }
}

static void dequantize_absmax(const nf4_task *t, const uint8_t *codes, const float *scales, float offset) {
  kiln__dynamic_map map;
  kiln__dynamic_map_make(&map, KILN_MAP_SIGNED);
  for (int64_t i = 0; i < t->blocks; i += SCALES_BLOCK) {
    int64_t n = kiln__min(SCALES_BLOCK, t->blocks - i);
    t->kernels->from_dynamic(t->absmax + i, codes + i, scales[i / SCALES_BLOCK], &map, n);
  }
  for (int64_t i = 0; i < t->blocks; i++) t->absmax[i] += offset;
}

// absmax += sign * offset.
static kiln_status shift_opencl(kiln_context *ctx, const nf4_task *t, const void *offset, float sign) {
  return KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "shift", kiln__cl_each(t->blocks, 1, 1), CL_AT(t->absmax), CL_AT(offset),
                        CL_FLOAT(sign), CL_LONG(t->blocks));
}

static kiln_status quantize_opencl(kiln_context *ctx, const nf4_task *t, const void *codes, const void *scales,
                                   const void *offset) {
  KILN_TRY(kiln__cl_takes(ctx, t->dtype));
  KILN_TRY(KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "nf4_quantize", kiln__cl_each(t->blocks, 1, 1), CL_AT(t->codes),
                          CL_AT(t->absmax), CL_AT(t->x), CL_LONG(t->count), CL_STRUCT(kiln__nf4)));
  if (!scales) return KILN_OK;
  KILN_TRY(KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "mean", ((kiln__cl_grid){1, 1, 1, 1}), CL_AT(offset), CL_AT(t->absmax),
                          CL_LONG(t->blocks)));
  KILN_TRY(shift_opencl(ctx, t, offset, -1));
  return kiln__to_dynamic_opencl(ctx, codes, scales, t->absmax, KILN_MAP_SIGNED, t->blocks);
}

static kiln_status dequantize_opencl(kiln_context *ctx, const nf4_task *t, const void *codes, const void *scales,
                                     const void *offset) {
  KILN_TRY(kiln__cl_takes(ctx, t->dtype));
  if (scales) {
    KILN_TRY(kiln__from_dynamic_opencl(ctx, t->absmax, codes, scales, KILN_MAP_SIGNED, t->blocks));
    KILN_TRY(shift_opencl(ctx, t, offset, 1));
  }
  return KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "nf4_dequantize", kiln__cl_each(t->count, 1, 1), CL_AT(t->x),
                        CL_AT(t->codes), CL_AT(t->absmax), CL_LONG(t->count), CL_STRUCT(kiln__nf4));
}

static void *data_of(const kiln_tensor *t) { return t ? kiln__data(t) : NULL; }

kiln_status kiln_quantize_nf4(kiln_context *ctx, const kiln_tensor *codes, const kiln_tensor *absmax,
                              const kiln_tensor *scales, const kiln_tensor *offset, const kiln_tensor *x) {
  KILN_TRY(kiln__begin_device(ctx, "quantize_nf4"));
  nf4_task t;
  KILN_TRY(check(ctx, "x", x, codes, absmax, scales, offset, &t));
  if (ctx->cl) return quantize_opencl(ctx, &t, kiln__data(absmax), data_of(scales), data_of(offset));
  if (ctx->query) return KILN_OK;
  kiln__for_blocks(ctx, t.blocks, KILN_NF4_BLOCK, quantize_block, &t);
  if (scales) quantize_absmax(&t, kiln__data(absmax), kiln__data(scales), kiln__data(offset));
  return KILN_OK;
}

kiln_status kiln_dequantize_nf4(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *codes,
                                const kiln_tensor *absmax, const kiln_tensor *scales, const kiln_tensor *offset) {
  KILN_TRY(kiln__begin_device(ctx, "dequantize_nf4"));
  nf4_task t;
  KILN_TRY(check(ctx, "y", y, codes, absmax, scales, offset, &t));
  if (ctx->cl) return dequantize_opencl(ctx, &t, kiln__data(absmax), data_of(scales), data_of(offset));
  if (ctx->query) return KILN_OK;
  if (scales) dequantize_absmax(&t, kiln__data(absmax), kiln__data(scales), *(const float *)kiln__data(offset));
  kiln__for_blocks(ctx, t.blocks, KILN_NF4_BLOCK, dequantize_block, &t);
  return KILN_OK;
}
