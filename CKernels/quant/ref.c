// The plain loops.
#include "core/internal.h"
#include "quant/group_scale.h"
#include "simd/half.h"

// The same bits on every CPU.
#pragma STDC FP_CONTRACT OFF

static const uint32_t *words(uint32_t *buffer, const kiln__random *random, int64_t first, int64_t n) {
  return kiln__random_words(buffer, random, first, n);
}

// The code of |x|: as many steps of the last place as it has, a step being 2^(exponent - mantissa).
static uint32_t narrow_magnitude(float x, kiln__narrow_type t, const uint32_t *random) {
  if (x != x) return t.nan;
  if (isinf(x)) return t.infinity;
  int exponent = x == 0 ? -t.bias : ilogbf(x), dropped = 23 - t.mantissa;
  bool subnormal = exponent < 1 - t.bias;
  if (subnormal) exponent = 1 - t.bias;
  double steps = ldexp(fabsf(x), t.mantissa - exponent);
  if (random) {
    if (subnormal) steps = ldexp(rint(ldexp(steps, dropped)), -dropped);
    steps = floor(steps + ldexp(*random >> (32 - dropped), -dropped));
  }
  uint32_t code = ((uint32_t)(exponent + t.bias - 1) << t.mantissa) + (uint32_t)rint(steps);
  return code < t.limit ? code : t.limit;
}

static void narrow(void *y, const float *x, float scale, kiln_dtype dtype, const uint32_t *random, int64_t n) {
  kiln__narrow_type t = kiln__narrow_type_of(dtype);
  for (int64_t i = 0; i < n; i++) {
    float v = x[i] * scale;
    uint32_t sign = kiln__bits_from_f32(v) >> 31 << (t.bits - 1);
    uint32_t code = sign | narrow_magnitude(v, t, random ? random + i : NULL);
    if (t.bits == 8) ((uint8_t *)y)[i] = (uint8_t)code;
    else ((uint16_t *)y)[i] = (uint16_t)code;
  }
}

static float narrow_value(uint32_t code, kiln__narrow_type t) {
  uint32_t sign = code >> (t.bits - 1), magnitude = code & ((1u << (t.bits - 1)) - 1);
  uint32_t exponent = magnitude >> t.mantissa, fraction = magnitude & ((1u << t.mantissa) - 1);
  double v = exponent == 0 ? ldexp(fraction, 1 - t.bias - t.mantissa)
                           : ldexp(1 + ldexp(fraction, -t.mantissa), (int)exponent - t.bias);
  if (magnitude >= t.infinity) v = magnitude == t.infinity && t.nan != t.infinity ? INFINITY : NAN;
  return copysignf((float)v, sign ? -1 : 1);
}

static void widen(float *y, const void *x, float scale, kiln_dtype dtype, int64_t n) {
  kiln__narrow_type t = kiln__narrow_type_of(dtype);
  for (int64_t i = 0; i < n; i++) {
    uint32_t code = t.bits == 8 ? ((const uint8_t *)x)[i] : ((const uint16_t *)x)[i];
    y[i] = narrow_value(code, t) * scale;
  }
}

static float larger(float amax, float x) { return amax != amax || fabsf(x) <= amax ? amax : fabsf(x); }

static float absmax(const float *x, int64_t n) {
  float amax = 0;
  for (int64_t i = 0; i < n; i++) amax = larger(amax, x[i]);
  return amax;
}

static void absmax_columns(float *amax, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i++) amax[i] = larger(amax[i], x[i]);
}

static float uniform(uint32_t word) { return (float)(word >> 8) * 0x1p-24f; }

// v to an integer, in fp32.
static float rounded(float v, const uint32_t *random) {
  return random ? floorf(v) + (uniform(*random) < v - floorf(v)) : rintf(v);
}

static void to_int8(int8_t *q, const float *x, const float *scale, int64_t stride, const uint32_t *random, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    float s = scale[i * stride], v = s > 0 ? x[i] / s : 0;
    q[i] = (int8_t)rounded(fminf(fmaxf(v, -127), 127), random ? random + i : NULL);
  }
}

static void from_int8(float *y, const int8_t *q, const float *scale, int64_t stride, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = (float)q[i] * scale[i * stride];
}

static uint8_t dynamic_code(const kiln__dynamic_map *map, float x) {
  int32_t k = 0;
  while (fabsf(x) >= map->edge[k]) k++;
  if (x < 0) k = -(k < map->most ? k : map->most);
  return (uint8_t)(map->zero + k);
}

static void to_dynamic(uint8_t *codes, float *scale, const float *x, const kiln__dynamic_map *map, int64_t n) {
  float amax = absmax(x, n), inverse = 0;
  if (amax >= FLT_MIN && amax <= FLT_MAX) inverse = 1 / amax;
  *scale = amax < FLT_MIN ? 0 : amax <= FLT_MAX ? amax : NAN;
  for (int64_t i = 0; i < n; i++) codes[i] = inverse > 0 ? dynamic_code(map, x[i] * inverse) : (uint8_t)map->zero;
}

static void from_dynamic(float *y, const uint8_t *codes, float scale, const kiln__dynamic_map *map, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = map->value[codes[i]] * scale;
}

static void to_group(uint8_t *codes, kiln__group_scale *scale, const float *x, int32_t bits, const uint32_t *random,
                     int64_t n) {
  float low = x[0], high = x[0], levels = (float)((1 << bits) - 1), amax = absmax(x, n);
  for (int64_t i = 1; i < n; i++) {
    low = fminf(low, x[i]);
    high = fmaxf(high, x[i]);
  }
  *scale = kiln__group_scale_of(low, high, levels, amax);
  float start = kiln__f32_from_bf16(scale->low), step = kiln__f32_from_bf16(scale->scale);
  int bytes = KILN_QUANT_BLOCK * bits / 8;
  memset(codes, 0, (size_t)bytes);
  for (int64_t i = 0; i < n && step > 0; i++) {
    float v = fminf((x[i] - start) / step, levels);
    codes[i % bytes] |= (uint8_t)((uint32_t)rounded(v, random + i) << (i / bytes * bits));
  }
}

static void from_group(float *y, const uint8_t *codes, kiln__group_scale scale, int32_t bits, int64_t n) {
  float low = kiln__f32_from_bf16(scale.low), step = kiln__f32_from_bf16(scale.scale);
  int bytes = KILN_QUANT_BLOCK * bits / 8;
  for (int64_t i = 0; i < n; i++) {
    uint32_t code = codes[i % bytes] >> (i / bytes * bits) & ((1u << bits) - 1);
    y[i] = (float)code * step + low;
  }
}

static void from_nf4(float *y, const uint8_t *codes, float absmax, int64_t n) {
  for (int64_t i = 0; i < n; i++) y[i] = kiln__nf4[i % 2 ? codes[i / 2] & 15 : codes[i / 2] >> 4] * absmax;
}

static float f16_at(const uint8_t *p) {
  uint16_t h;
  memcpy(&h, p, sizeof h);
  return kiln__f32_from_f16(h);
}

static void from_gguf(float *y, const uint8_t *block, kiln_block_format format) {
  float d = f16_at(block), m = format == KILN_Q4_1 ? f16_at(block + 2) : 0;
  const uint8_t *q = block + (format == KILN_Q4_1 ? 4 : 2);
  for (int j = 0; j < KILN_GGUF_BLOCK; j++) {
    int nibble = j < 16 ? q[j] & 15 : q[j % 16] >> 4;
    if (format == KILN_Q4_0) y[j] = (float)(nibble - 8) * d;
    else if (format == KILN_Q4_1) y[j] = (float)nibble * d + m;
    else y[j] = (float)(int8_t)q[j] * d;
  }
}

const kiln__quant_kernels kiln__quant_ref_f32 = {
    words,      narrow,       widen,    absmax,     absmax_columns, to_int8, from_int8,
    to_dynamic, from_dynamic, to_group, from_group, from_nf4,       from_gguf};
