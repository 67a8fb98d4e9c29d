// The block formats of GGUF. Weights are quantised once, so by plain C, which gives the same bits on every CPU.
#include "quant/block.h"
#include "quant/opencl.h"

#pragma STDC FP_CONTRACT OFF

static void put_f16(uint8_t *p, float x) {
  uint16_t h = kiln__f16_from_f32(x);
  memcpy(p, &h, sizeof h);
}

static float inverse(float d) { return fabsf(d) >= FLT_MIN ? 1 / d : 0; }

static uint8_t nibble(float v) { return (uint8_t)(v < 15 ? v : 15); }

static void pack(uint8_t *out, const uint8_t q[KILN_GGUF_BLOCK]) {
  for (int j = 0; j < 16; j++) out[j] = (uint8_t)(q[j] | q[j + 16] << 4);
}

static void to_q4_0(uint8_t *out, const float *x) {
  float most = 0;
  for (int j = 0; j < KILN_GGUF_BLOCK; j++) {
    if (fabsf(x[j]) > fabsf(most)) most = x[j];
  }
  float d = most / -8, factor = inverse(d);
  uint8_t q[KILN_GGUF_BLOCK];
  for (int j = 0; j < KILN_GGUF_BLOCK; j++) q[j] = nibble(x[j] * factor + 8.5f);
  put_f16(out, d);
  pack(out + 2, q);
}

static void to_q4_1(uint8_t *out, const float *x) {
  float low = x[0], high = x[0];
  for (int j = 1; j < KILN_GGUF_BLOCK; j++) {
    low = x[j] < low ? x[j] : low;
    high = x[j] > high ? x[j] : high;
  }
  float d = (high - low) / 15, factor = inverse(d);
  uint8_t q[KILN_GGUF_BLOCK];
  for (int j = 0; j < KILN_GGUF_BLOCK; j++) q[j] = nibble((x[j] - low) * factor + 0.5f);
  put_f16(out, d);
  put_f16(out + 2, low);
  pack(out + 4, q);
}

static void to_q8_0(uint8_t *out, const float *x) {
  float amax = 0;
  for (int j = 0; j < KILN_GGUF_BLOCK; j++) amax = fabsf(x[j]) > amax ? fabsf(x[j]) : amax;
  float d = amax / 127, factor = inverse(d);
  put_f16(out, d);
  for (int j = 0; j < KILN_GGUF_BLOCK; j++) {
    // To the nearest, ties away from zero.
    float v = x[j] * factor, whole = (float)(int32_t)v;
    out[2 + j] = (uint8_t)(int8_t)(whole + (v - whole >= 0.5f) - (v - whole <= -0.5f));
  }
}

// A block with an element that is not finite: the scale NaN and the codes of zero.
static void to_fault(uint8_t *out, kiln_block_format format) {
  memset(out, 0, kiln_block_bytes(format));
  put_f16(out, NAN);
  if (format == KILN_Q4_0) memset(out + 2, 0x88, 16);
}

size_t kiln_block_bytes(kiln_block_format format) {
  switch (format) {
    case KILN_Q4_0: return 18;
    case KILN_Q4_1: return 20;
    case KILN_Q8_0: return 34;
    default: return 0;
  }
}

typedef struct gguf_task {
  const kiln__quant_kernels *kernels;
  kiln_dtype dtype;       // of x or y
  kiln__rows x, blocks;
  int64_t bytes, across;  // of a block; blocks in a row
  kiln_block_format format;
} gguf_task;

static void quantize_block(const void *task, int64_t block) {
  const gguf_task *t = task;
  int64_t row = block / t->across, at = block % t->across;
  float buffer[KILN_GGUF_BLOCK];
  const void *data = kiln__at(t->x.data, t->dtype, row * t->x.stride + at * KILN_GGUF_BLOCK);
  const float *x = kiln__read_block(t->kernels, buffer, data, t->dtype, KILN_GGUF_BLOCK);
  uint8_t *out = (uint8_t *)t->blocks.data + row * t->blocks.stride + at * t->bytes;
  if (!(t->kernels->absmax(x, KILN_GGUF_BLOCK) <= FLT_MAX)) to_fault(out, t->format);
  else if (t->format == KILN_Q4_0) to_q4_0(out, x);
  else if (t->format == KILN_Q4_1) to_q4_1(out, x);
  else to_q8_0(out, x);
}

static void dequantize_block(const void *task, int64_t block) {
  const gguf_task *t = task;
  int64_t row = block / t->across, at = block % t->across;
  float buffer[KILN_GGUF_BLOCK];
  void *y = kiln__at(t->x.data, t->dtype, row * t->x.stride + at * KILN_GGUF_BLOCK);
  float *values = kiln__open_block(buffer, y, t->dtype);
  t->kernels->from_gguf(values, (const uint8_t *)t->blocks.data + row * t->blocks.stride + at * t->bytes, t->format);
  kiln__write_block(t->kernels, y, values, t->dtype, KILN_GGUF_BLOCK);
}

static kiln_status run_opencl(kiln_context *ctx, const gguf_task *t, bool quantizes) {
  KILN_TRY(kiln__cl_takes(ctx, t->dtype));
  const kiln__cl_gguf g = {t->across, t->x.stride, t->blocks.stride, (int32_t)t->bytes, (int32_t)t->format};
  const kiln__narrow_type half = kiln__narrow_type_of(KILN_F16);
  int64_t count = t->x.rows * t->across;
  return KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, quantizes ? "gguf_quantize" : "gguf_dequantize",
                        kiln__cl_each(count, 1, 1), CL_AT(quantizes ? t->blocks.data : t->x.data),
                        CL_AT(quantizes ? t->x.data : t->blocks.data), CL_LONG(count), CL_STRUCT(g), CL_STRUCT(half));
}

static kiln_status run(kiln_context *ctx, const char *name, const kiln_tensor *x, const kiln_tensor *blocks,
                       kiln_block_format format, kiln__block_body *body) {
  gguf_task t = {.kernels = ctx->kernels[KILN_F32].quant, .format = format, .bytes = (int64_t)kiln_block_bytes(format)};
  if (t.bytes == 0) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "format is %d, not 2 (Q4_0), 3 (Q4_1) or 8 (Q8_0)", (int)format);
  }
  KILN_TRY(kiln__check_real(ctx, name, x, &t.dtype));
  KILN_TRY(kiln__check_dtype(ctx, "blocks", blocks, KILN_U8));
  KILN_TRY(kiln__fold(ctx, name, x, &t.x));
  KILN_TRY(kiln__fold(ctx, "blocks", blocks, &t.blocks));
  if (t.x.cols % KILN_GGUF_BLOCK != 0) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "%s is %s; the last extent must be a multiple of 32", name,
                      kiln__shape_text(x).s);
  }
  t.across = t.x.cols / KILN_GGUF_BLOCK;
  if (t.blocks.rows != t.x.rows || t.blocks.cols != t.across * t.bytes) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "blocks is %s, not the %lld rows of %lld bytes that %s has",
                      kiln__shape_text(blocks).s, (long long)t.x.rows, (long long)(t.across * t.bytes), name);
  }
  if (ctx->cl) return run_opencl(ctx, &t, body == quantize_block);
  if (!ctx->query) kiln__for_blocks(ctx, t.x.rows * t.across, KILN_GGUF_BLOCK, body, &t);
  return KILN_OK;
}

kiln_status kiln_quantize_blocks(kiln_context *ctx, const kiln_tensor *blocks, const kiln_tensor *x,
                                 kiln_block_format format) {
  KILN_TRY(kiln__begin_device(ctx, "quantize_blocks"));
  return run(ctx, "x", x, blocks, format, quantize_block);
}

kiln_status kiln_dequantize_blocks(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *blocks,
                                   kiln_block_format format) {
  KILN_TRY(kiln__begin_device(ctx, "dequantize_blocks"));
  return run(ctx, "y", y, blocks, format, dequantize_block);
}
