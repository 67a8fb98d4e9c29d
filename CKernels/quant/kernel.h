// Narrow numbers in vectors.
#include "quant/decode_kernel.h"
#include "quant/group_scale.h"

static const uint32_t *quant_words(uint32_t *buffer, const kiln__random *random, int64_t first, int64_t n) {
  return kiln__random_words(buffer, random, first, n);
}

// The code of x; `t` is a constant where it is inlined. To the nearest: half of the last place is added to the bits,
// less one where the tie goes down; a subnormal is rounded by the addition of a number whose last place it shall have.
// With random numbers: they are added below the last place; a subnormal becomes a fixed-point number for that.
VEC vi quant_encode_narrow(vf x, kiln__narrow_type t, const vi *random) {
  const int drop = 23 - t.mantissa;
  vu sign = (vu)x & 0x80000000, magnitude = (vu)x & 0x7fffffff, normal, subnormal;
  vf a = (vf)magnitude, least = (vf)(vu)((128u - (uint32_t)t.bias) << 23);  // the least normal number
  const uint32_t rebias = (127u - (uint32_t)t.bias) << t.mantissa;
  if (random) {
    vu r = (vu)*random >> (32 - drop);
    normal = ((magnitude + r) >> drop) - rebias;
    subnormal = (((vu)(a + least) + r) >> drop) - (rebias + (1u << t.mantissa));
  } else {
    vf place = (vf)(vu)((151u - (uint32_t)t.bias - (uint32_t)t.mantissa) << 23);
    normal = ((magnitude + ((1u << (drop - 1)) - 1) + (magnitude >> drop & 1)) >> drop) - rebias;
    subnormal = (vu)(a + place) - (vu)place;
  }
  vi code = vi_select(a < least, (vi)subnormal, (vi)normal), limit = (vi)(int32_t)t.limit;
  code = vi_select(code < limit, code, limit);
  code = vi_select(a == INFINITY, (vi)(int32_t)t.infinity, code);
  code = vi_select(x == x, code, (vi)(int32_t)t.nan);
  return code | (vi)(sign >> (32 - t.bits));
}

VEC void quant_narrow_as(kiln__narrow_type t, void *y, const float *x, float scale, const uint32_t *random, int64_t n) {
  for (int64_t i = 0; i < n; i += KILN_VL) {
    vi word = 0;
    if (random) word = vi_read(random + i, n - i);
    vi code = quant_encode_narrow(vf_read(x + i, n - i) * scale, t, random ? &word : NULL);
    if (t.bits == 8) vi_write((uint8_t *)y + i, code, n - i);
    else vi_write((uint16_t *)y + i, code, n - i);
  }
}

static void quant_narrow(void *y, const float *x, float scale, kiln_dtype dtype, const uint32_t *random, int64_t n) {
#define CASE(type)                                                                              \
  case type:                                                                                    \
    if (random) quant_narrow_as(kiln__narrow_type_of(type), y, x, scale, random, n);            \
    else quant_narrow_as(kiln__narrow_type_of(type), y, x, scale, NULL, n);                     \
    break
  switch (dtype) {
    CASE(KILN_F8_E4M3);
    CASE(KILN_F8_E5M2);
    CASE(KILN_F16);
    default:
      if (random) quant_narrow_as(kiln__narrow_type_of(KILN_BF16), y, x, scale, random, n);
      else for (int64_t i = 0; i < n; i += KILN_WL) vf_write((kiln__bf16 *)y + i, vw_read(x + i, n - i) * scale, n - i);
  }
#undef CASE
}

VEC void quant_widen_as(kiln__narrow_type t, float *y, const void *x, float scale, int64_t n) {
  for (int64_t i = 0; i < n; i += KILN_VL) {
    vi code = t.bits == 8 ? vi_read((const uint8_t *)x + i, n - i) : vi_read((const uint16_t *)x + i, n - i);
    vf_write(y + i, quant_decode_narrow(code, t) * scale, n - i);
  }
}

static void quant_widen(float *y, const void *x, float scale, kiln_dtype dtype, int64_t n) {
  switch (dtype) {
    case KILN_F8_E4M3: quant_widen_as(kiln__narrow_type_of(KILN_F8_E4M3), y, x, scale, n); break;
    case KILN_F8_E5M2: quant_widen_as(kiln__narrow_type_of(KILN_F8_E5M2), y, x, scale, n); break;
    case KILN_F16: quant_widen_as(kiln__narrow_type_of(KILN_F16), y, x, scale, n); break;
    default:
      for (int64_t i = 0; i < n; i += KILN_WL) {
        vf_write(y + i, vw_read((const kiln__bf16 *)x + i, n - i) * scale, n - i);
      }
  }
}

// Magnitudes are compared by their bits, among which NaN is the largest.
VEC vi quant_larger(vi amax, vf x) {
  vi magnitude = (vi)x & 0x7fffffff;
  return vi_select(magnitude > amax, magnitude, amax);
}

static float quant_absmax(const float *x, int64_t n) {
  vi even = 0, odd = 0;
  int64_t i = 0;
  for (; i + 2 * KILN_VL <= n; i += 2 * KILN_VL) {
    even = quant_larger(even, vf_load(x + i));
    odd = quant_larger(odd, vf_load(x + i + KILN_VL));
  }
  for (; i < n; i += KILN_VL) even = quant_larger(even, vf_read(x + i, n - i));
  return vf_max_lane((vf)quant_larger(even, (vf)odd));
}

static void quant_absmax_columns(float *amax, const float *x, int64_t n) {
  for (int64_t i = 0; i < n; i += KILN_VL) {
    vf_write(amax + i, (vf)quant_larger((vi)vf_read(amax + i, n - i), vf_read(x + i, n - i)), n - i);
  }
}

// 24 bits of a word as a number of [0, 1).
VEC vf quant_uniform(vi word) { return vf_of((vi)((vu)word >> 8)) * 0x1p-24f; }

// The integer in the low bits: a number of up to 22 bits, rounded where it lies.
VEC vi quant_rounded(vf v, const vi *random) {
  if (!random) return (vi)(v + 12582912.0f);  // 1.5 * 2^23
  vf floor = __builtin_elementwise_floor(v);
  return (vi)(floor + 12582912.0f) - (quant_uniform(*random) < v - floor);
}

// Of a scale that is 0 or NaN all codes are 0.
VEC vi quant_int8_code(vf x, vf scale, const vi *random) {
  vi some = scale > 0.0f;
  vf v = vf_select(some, x / vf_select(some, scale, vf_set(1)), vf_set(0));
  return quant_rounded(vf_clamp(v, -127, 127), random) & 0xff;
}

VEC void quant_int8_run(int8_t *q, const float *x, const float *scale, int64_t stride, const uint32_t *random,
                        int64_t n) {
  vf one = vf_set(*scale);
  for (int64_t i = 0; i < n; i += KILN_VL) {
    vi word = 0;
    if (random) word = vi_read(random + i, n - i);
    vf s = stride ? vf_read(scale + i, n - i) : one;
    vi_write((uint8_t *)q + i, quant_int8_code(vf_read(x + i, n - i), s, random ? &word : NULL), n - i);
  }
}

static void quant_to_int8(int8_t *q, const float *x, const float *scale, int64_t stride, const uint32_t *random,
                          int64_t n) {
  if (random) quant_int8_run(q, x, scale, stride, random, n);
  else if (stride) quant_int8_run(q, x, scale, 1, NULL, n);
  else quant_int8_run(q, x, scale, 0, NULL, n);
}

static void quant_from_int8(float *y, const int8_t *q, const float *scale, int64_t stride, int64_t n) {
  vf one = vf_set(*scale);
  for (int64_t i = 0; i < n; i += KILN_VL) {
    vf s = stride ? vf_read(scale + i, n - i) : one;
    vf_write(y + i, vf_of(vi_read(q + i, n - i)) * s, n - i);
  }
}

// Which magnitudes of the map are the nearest to x of [0, 1], times 2^KILN_MAP_PLACES, and a fraction. The bits of x as
// an integer give its logarithm within 0.03, and so its band, or the one before.
VEC vi quant_places(vf x, const kiln__dynamic_map *map) {
  vf rough = vf_fma(vf_of((vi)x), vf_set(0x1.34413cp-25f), vf_set(-31.73081f));  // log10(x) + 6.5
  vi band = __builtin_convertvector(rough, vi);
  band = vi_select(band > 0, band, (vi)0);
  band -= x >= quant_lookup_8(map->next, band);
  vf exact = vf_fma(x, quant_lookup_8(map->factor, band), quant_lookup_8(map->offset, band));
  return __builtin_convertvector(vf_min(exact, quant_lookup_8(map->last, band)), vi);
}

VEC vi quant_near_edge(vi places) { return ((places + 1) & ((1 << KILN_MAP_PLACES) - 2)) == 0; }

// Magnitudes k that may be one too small or too large.
static __attribute__((noinline)) void quant_settle(int32_t k[KILN_WL], const float x[KILN_WL],
                                                   const kiln__dynamic_map *map) {
  for (int i = 0; i < KILN_WL; i++) {
    if (k[i] > 0 && x[i] < map->edge[k[i] - 1]) k[i]--;
    else if (x[i] >= map->edge[k[i]]) k[i]++;
  }
}

// KILN_WL codes; `has_signs` is a constant where this is inlined: without them, numbers below 0 are 0.
VEC void quant_dynamic_codes(uint8_t *codes, const float *x, float inverse, const kiln__dynamic_map *map,
                             bool has_signs) {
  typedef uint8_t vwb __attribute__((ext_vector_type(KILN_WL)));
  vf v[4], size[4];
  vi k[4], near = 0, most = map->most;
  for (int j = 0; j < 4; j++) {
    v[j] = vf_load(x + j * KILN_VL) * inverse;
    size[j] = has_signs ? vf_abs(v[j]) : vf_max(v[j], vf_set(0));
    vi places = quant_places(size[j], map);
    near |= quant_near_edge(places);
    k[j] = places >> KILN_MAP_PLACES;
  }
  // Copies, so that in all other cases everything stays in registers.
  if (__builtin_reduce_or(near)) {
    float sizes[KILN_WL];
    int32_t settled[KILN_WL];
    memcpy(sizes, size, sizeof sizes);
    memcpy(settled, k, sizeof settled);
    quant_settle(settled, sizes, map);
    memcpy(k, settled, sizeof k);
  }
  for (int j = 0; j < 4 && has_signs; j++) {
    k[j] = map->zero + vi_select(v[j] < 0.0f, vi_select(k[j] < most, -k[j], -most), k[j]);
  }
  vwi all;
  memcpy(&all, k, sizeof all);
  vwb bytes = __builtin_convertvector(all, vwb);
  memcpy(codes, &bytes, sizeof bytes);
}

VEC void quant_dynamic_run(uint8_t *codes, const float *x, float inverse, const kiln__dynamic_map *map, bool has_signs,
                           int64_t n) {
  int64_t i = 0;
  for (; i + KILN_WL <= n; i += KILN_WL) quant_dynamic_codes(codes + i, x + i, inverse, map, has_signs);
  if (i == n) return;
  float rest[KILN_WL] = {0};
  uint8_t last[KILN_WL];
  memcpy(rest, x + i, (size_t)(n - i) * sizeof *x);
  quant_dynamic_codes(last, rest, inverse, map, has_signs);
  memcpy(codes + i, last, (size_t)(n - i));
}

static void quant_to_dynamic(uint8_t *codes, float *scale, const float *x, const kiln__dynamic_map *map, int64_t n) {
  float amax = quant_absmax(x, n);
  *scale = amax < FLT_MIN ? 0 : amax <= FLT_MAX ? amax : NAN;
  if (!(*scale > 0)) memset(codes, map->zero, (size_t)n);
  else if (map->most) quant_dynamic_run(codes, x, 1 / amax, map, true, n);
  else quant_dynamic_run(codes, x, 1 / amax, map, false, n);
}

static void quant_from_dynamic(float *y, const uint8_t *codes, float scale, const kiln__dynamic_map *map, int64_t n) {
  int64_t i = 0;
  for (; i + KILN_VL <= n; i += KILN_VL) {
    vf v;
    for (int lane = 0; lane < KILN_VL; lane++) v[lane] = map->value[codes[i + lane]];
    vf_store(y + i, v * scale);
  }
  for (; i < n; i++) y[i] = map->value[codes[i]] * scale;
}

// Bytes of whole vectors: code i of a group is beside the codes i + bytes, i + 2 bytes ... in one byte.
VEC void quant_pack_group(uint8_t *codes, const uint8_t *q, int32_t bits) {
  int bytes = KILN_QUANT_BLOCK * bits / 8;
  for (int i = 0; i < bytes; i++) {
    uint32_t byte = q[i];
    for (int part = 1; part < 8 / bits; part++) byte |= (uint32_t)q[i + part * bytes] << (part * bits);
    codes[i] = (uint8_t)byte;
  }
}

static void quant_to_group(uint8_t *codes, kiln__group_scale *scale, const float *x, int32_t bits,
                           const uint32_t *random, int64_t n) {
  vf low = vf_set(x[0]), high = low;
  for (int64_t i = 0; i < n; i += KILN_VL) {
    vf v = n - i < KILN_VL ? vf_load_part(x + i, n - i, x[0]) : vf_load(x + i);
    low = vf_min(low, v);
    high = vf_max(high, v);
  }
  float levels = (float)((1 << bits) - 1);
  *scale = kiln__group_scale_of(-vf_max_lane(-low), vf_max_lane(high), levels, quant_absmax(x, n));
  float start = kiln__f32_from_bf16(scale->low), step = kiln__f32_from_bf16(scale->scale);
  uint8_t q[KILN_QUANT_BLOCK + KILN_VL] = {0};
  for (int64_t i = 0; i < n && step > 0; i += KILN_VL) {
    vi word = vi_read(random + i, n - i);
    vf v = vf_min((vf_read(x + i, n - i) - start) / step, vf_set(levels));
    vi_write(q + i, quant_rounded(v, &word) & 0xff, n - i);
  }
  if (bits == 8) memcpy(codes, q, KILN_QUANT_BLOCK);
  else if (bits == 4) quant_pack_group(codes, q, 4);
  else quant_pack_group(codes, q, 2);
}

VEC void quant_group_part(float *y, const uint8_t *codes, float step, float low, int shift, int mask, int64_t n) {
  for (int64_t i = 0; i < n; i += KILN_VL) {
    vf_write(y + i, vf_of(vi_read(codes + i, n - i) >> shift & mask) * step + low, n - i);
  }
}

static void quant_from_group(float *y, const uint8_t *codes, kiln__group_scale scale, int32_t bits, int64_t n) {
  float low = kiln__f32_from_bf16(scale.low), step = kiln__f32_from_bf16(scale.scale);
  int64_t bytes = KILN_QUANT_BLOCK * bits / 8;
  for (int64_t part = 0; part * bytes < n; part++) {
    int64_t left = kiln__min(bytes, n - part * bytes);
    quant_group_part(y + part * bytes, codes, step, low, (int)part * bits, (1 << bits) - 1, left);
  }
}

static void quant_from_nf4(float *y, const uint8_t *codes, float absmax, int64_t n) {
  int64_t i = 0;
  for (; i + KILN_VL <= n; i += KILN_VL) vf_store(y + i, quant_decode_nf4(codes, i) * absmax);
  for (; i < n; i++) y[i] = kiln__nf4[i % 2 ? codes[i / 2] & 15 : codes[i / 2] >> 4] * absmax;
}

VEC float quant_f16_at(const uint8_t *p) {
  uint16_t h;
  memcpy(&h, p, sizeof h);
  return kiln__f32_from_f16(h);
}

VEC void quant_from_q4(float *y, const uint8_t *q, float first, float d, float m) {
  for (int half = 0; half < 2; half++) {
    for (int j = 0; j < KILN_GGUF_BLOCK / 2; j += KILN_VL) {
      vf_store(y + half * KILN_GGUF_BLOCK / 2 + j, (quant_decode_nibbles(q + j, 4 * half) + first) * d + m);
    }
  }
}

static void quant_from_gguf(float *y, const uint8_t *block, kiln_block_format format) {
  float d = quant_f16_at(block);
  if (format == KILN_Q4_0) {
    quant_from_q4(y, block + 2, -8, d, -0.0f);  // which changes no number
  } else if (format == KILN_Q4_1) {
    quant_from_q4(y, block + 4, 0, d, quant_f16_at(block + 2));
  } else {
    const int8_t *q = (const int8_t *)block + 2;
    for (int j = 0; j < KILN_GGUF_BLOCK; j += KILN_VL) vf_store(y + j, vf_of(vi_load(q + j)) * d);
  }
}

static const kiln__quant_kernels quant_kernels = {
    quant_words,      quant_narrow,       quant_widen,    quant_absmax,     quant_absmax_columns,
    quant_to_int8,    quant_from_int8,    quant_to_dynamic, quant_from_dynamic, quant_to_group,
    quant_from_group, quant_from_nf4,     quant_from_gguf};
