// Narrow numbers: the rules of quant/ref.c, bit for bit.

#pragma OPENCL FP_CONTRACT OFF

// A floating-point type of 8 or 16 bits: kiln__narrow_type.
typedef struct {
  int bits, mantissa, bias;
  uint limit, infinity, nan;
} narrow;

static uint narrow_code(const float x, const narrow *t, const int stochastic, const uint word) {
  const uint sign = as_uint(x) >> 31 << (t->bits - 1), magnitude = as_uint(x) & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | t->nan;
  if (magnitude == 0x7f800000) return sign | t->infinity;
  const int dropped = 23 - t->mantissa;
  uint code;
  if ((int)(magnitude >> 23) - 127 >= 1 - t->bias) {
    // A carry out of the fraction goes into the exponent, where it belongs.
    const uint half_of = (1u << (dropped - 1)) - 1 + (magnitude >> dropped & 1);
    code = (magnitude + (stochastic ? word >> (32 - dropped) : half_of)) >> dropped;
    code -= (uint)(127 - t->bias) << t->mantissa;
  } else {
    const double steps = ldexp((double)as_float(magnitude), t->mantissa + t->bias - 1);
    code = stochastic ? ((uint)rint(ldexp(steps, dropped)) + (word >> (32 - dropped))) >> dropped : (uint)rint(steps);
  }
  return sign | min(code, t->limit);
}

static float narrow_value(const uint code, const narrow *t) {
  const uint magnitude = code & ((1u << (t->bits - 1)) - 1), sign = code >> (t->bits - 1) << 31;
  if (magnitude >= t->infinity) {
    return as_float(sign | (magnitude == t->infinity && t->nan != t->infinity ? 0x7f800000u : 0x7fc00000u));
  }
  if (magnitude >> t->mantissa) {
    return as_float(sign | ((magnitude << (23 - t->mantissa)) + ((uint)(127 - t->bias) << 23)));
  }
  return as_float(sign | as_uint((float)ldexp((double)magnitude, 1 - t->bias - t->mantissa)));
}

#define FACTOR (scale_memory ? *AT(float, scale) : 1)

#define CAST(T)                                                                                                \
  __kernel void narrow_##T(                                                                                    \
      MEMORY(T, y), MEMORY(float, x), const layout l, MEMORY(float, scale), const narrow t, const uint2 key,   \
      const uint4 counter, const int stochastic) {                                                             \
    const long i = get_global_id(0);                                                                           \
    if (i >= l.count) return;                                                                                  \
    const float v = AT(float, x)[place(&l, 1, i)] * FACTOR;                                                    \
    const uint word = stochastic ? philox_word(i, key, counter) : 0;                                           \
    AT(T, y)[place(&l, 0, i)] = narrow_code(v, &t, stochastic, word);                                          \
  }                                                                                                            \
  __kernel void widen_##T(                                                                                     \
      MEMORY(float, y), MEMORY(T, x), const layout l, MEMORY(float, scale), const narrow t) {                  \
    const long i = get_global_id(0);                                                                           \
    if (i >= l.count) return;                                                                                  \
    AT(float, y)[place(&l, 0, i)] = narrow_value(AT(T, x)[place(&l, 1, i)], &t) * FACTOR;                      \
  }
CAST(uchar)
CAST(ushort)

__kernel void scaled(MEMORY(float, y), MEMORY(float, x), const layout l, MEMORY(float, scale)) {
  const long i = get_global_id(0);
  if (i >= l.count) return;
  AT(float, y)[place(&l, 0, i)] = AT(float, x)[place(&l, 1, i)] * FACTOR;
}

// Of stretches of 4096 elements.
__kernel void absmax_parts(MEMORY(float, parts), MEMORY(float, x), const long count) {
  const long part = get_global_id(0), begin = part * 4096, end = min(begin + 4096, count);
  float most = 0;
  for (long i = begin; i < end; i++) most = larger(most, AT(float, x)[i]);
  AT(float, parts)[part] = most;
}

__kernel void absmax_all(MEMORY(float, out), MEMORY(float, parts), const long count) {
  float most = 0;
  for (long i = 0; i < count; i++) most = larger(most, AT(float, parts)[i]);
  *AT(float, out) = most;
}

__kernel void float8_scale(
    MEMORY(float, scale), MEMORY(float, inverse), MEMORY(float, amax), const long count, const float largest,
    const int margin) {
  float most = 0;
  for (long i = 0; i < count; i++) most = larger(most, AT(float, amax)[i]);
  const float s = ldexp(largest / most, -margin), i = 1 / s;
  if (!(most > 0 && isfinite(most) && s > 0 && isfinite(s) && isfinite(i))) return;
  *AT(float, scale) = s;
  *AT(float, inverse) = i;
}

// v to an integer.
static float rounded(const float v, const int stochastic, const uint word) {
  if (!stochastic) return rint(v);
  return floor(v) + ((word >> 8) * 0x1p-24f < v - floor(v) ? 1 : 0);
}

// Tiles of a matrix with a scale each, `across` beside each other.
typedef struct {
  long rows, cols, x, q, tile_rows, tile_cols, across;
} tiles;

__kernel void int8_scales(MEMORY(float, scales), MEMORY(float, x), const tiles t) {
  const long i = get_global_id(0), row = i / t.across * t.tile_rows, col = i % t.across * t.tile_cols;
  if (row >= t.rows) return;
  float most = 0;
  for (long r = row; r < row + t.tile_rows; r++) {
    for (long c = col; c < col + t.tile_cols; c++) most = larger(most, AT(float, x)[r * t.x + c]);
  }
  AT(float, scales)[i] = most <= FLT_MAX ? most / 127 : NAN;
}

#define SCALE(i) AT(float, scales)[(i) / t.cols / t.tile_rows * t.across + (i) % t.cols / t.tile_cols]

__kernel void int8_quantize(
    MEMORY(char, q), MEMORY(float, x), MEMORY(float, scales), const tiles t, const uint2 key, const uint4 counter,
    const int stochastic) {
  const long i = get_global_id(0);
  if (i >= t.rows * t.cols) return;
  const float s = SCALE(i), v = s > 0 ? AT(float, x)[i / t.cols * t.x + i % t.cols] / s : 0;
  const uint word = stochastic ? philox_word(i, key, counter) : 0;
  AT(char, q)[i / t.cols * t.q + i % t.cols] = (char)rounded(fmin(fmax(v, -127.0f), 127.0f), stochastic, word);
}

__kernel void int8_dequantize(MEMORY(float, y), MEMORY(char, q), MEMORY(float, scales), const tiles t) {
  const long i = get_global_id(0);
  if (i >= t.rows * t.cols) return;
  AT(float, y)[i / t.cols * t.x + i % t.cols] = (float)AT(char, q)[i / t.cols * t.q + i % t.cols] * SCALE(i);
}

// Blocks and groups of 256 elements: an item has one.

__kernel void dynamic_quantize(
    MEMORY(uchar, codes), MEMORY(float, scales), MEMORY(float, x), MEMORY(dynamic_map, map), const long count) {
  const long block = get_global_id(0), begin = block * BLOCK;
  const int n = min((long)BLOCK, count - begin);
  if (n <= 0) return;
  float values[BLOCK];
  for (int i = 0; i < n; i++) values[i] = AT(float, x)[begin + i];
  encode(AT(uchar, codes) + begin, AT(float, scales) + block, values, AT(dynamic_map, map), n);
}

__kernel void dynamic_dequantize(
    MEMORY(float, y), MEMORY(uchar, codes), MEMORY(float, scales), MEMORY(dynamic_map, map), const long count) {
  const long i = get_global_id(0);
  if (i < count) AT(float, y)[i] = AT(dynamic_map, map)->value[AT(uchar, codes)[i]] * AT(float, scales)[i / BLOCK];
}

// The scale and the low end of a group: quant/group_scale.h.
static ushort2 group_scale(const float low, const float high, const float levels, const float most) {
  const ushort2 fault = (ushort2)(0x7fc0, 0x7fc0);
  if (!(most <= 0x1.fep127f)) return fault;
  const uint l = as_uint(low + 0.0f), below = (l >> 16) + (l >> 31 && l & 0xffff ? 1 : 0);
  const uint s = as_uint((high - from_bf16((ushort)below)) / levels + 0.0f);
  const uint above = (s >> 16) + (!(s >> 31) && s & 0xffff ? 1 : 0);
  return above < 0x7f80 ? (ushort2)(above, below) : fault;
}

__kernel void group_quantize(
    MEMORY(uchar, codes), MEMORY(ushort2, scales), MEMORY(float, x), const long count, const int bits,
    const uint2 key, const uint4 counter) {
  const long group = get_global_id(0), begin = group * BLOCK;
  const int n = min((long)BLOCK, count - begin), bytes = BLOCK / 8 * bits;
  if (n <= 0) return;
  __global const float *p = AT(float, x) + begin;
  float low = p[0], high = p[0], most = 0;
  for (int i = 0; i < n; i++) {
    low = fmin(low, p[i]);
    high = fmax(high, p[i]);
    most = larger(most, p[i]);
  }
  const float levels = (1 << bits) - 1;
  const ushort2 scale = group_scale(low, high, levels, most);
  AT(ushort2, scales)[group] = scale;
  const float step = from_bf16(scale.x), start = from_bf16(scale.y);
  for (int byte = 0; byte < bytes; byte++) {
    uint packed = 0;
    for (int i = byte, shift = 0; i < n && step > 0; i += bytes, shift += bits) {
      const float v = fmin((p[i] - start) / step, levels);
      packed |= (uint)rounded(v, 1, philox_word(begin + i, key, counter)) << shift;
    }
    AT(uchar, codes)[group * bytes + byte] = packed;
  }
}

__kernel void group_dequantize(
    MEMORY(float, y), MEMORY(uchar, codes), MEMORY(ushort2, scales), const long count, const int bits) {
  const long i = get_global_id(0);
  if (i >= count) return;
  const int bytes = BLOCK / 8 * bits, at = i % BLOCK;
  const ushort2 scale = AT(ushort2, scales)[i / BLOCK];
  const uint code = AT(uchar, codes)[i / BLOCK * bytes + at % bytes] >> (at / bytes * bits) & ((1u << bits) - 1);
  AT(float, y)[i] = (float)code * from_bf16(scale.x) + from_bf16(scale.y);
}

// NF4: blocks of 64 elements, two codes a byte.

typedef struct {
  float value[16];
} nf4_numbers;

// The nearest number's code, ties to the lower one.
static uint nf4_code(const nf4_numbers *numbers, const float x) {
  uint code = 0;
  for (int k = 0; k < 15; k++) code += x > (numbers->value[k] + numbers->value[k + 1]) / 2;
  return code;
}

__kernel void nf4_quantize(
    MEMORY(uchar, codes), MEMORY(float, absmax), MEMORY(float, x), const long count, const nf4_numbers numbers) {
  const long block = get_global_id(0), begin = block * 64;
  const int n = min(64L, count - begin);
  if (n <= 0) return;
  __global const float *p = AT(float, x) + begin;
  float most = 0;
  for (int i = 0; i < n; i++) most = larger(most, p[i]);
  const bool finite = most <= FLT_MAX;
  const float inverse = 1 / fmax(most, 1e-38f);
  AT(float, absmax)[block] = finite ? most : NAN;
  for (int i = 0; i < n; i += 2) {
    const uint high = nf4_code(&numbers, finite ? p[i] * inverse : 0);
    const uint low = nf4_code(&numbers, finite && i + 1 < n ? p[i + 1] * inverse : 0);
    AT(uchar, codes)[(begin + i) / 2] = high << 4 | low;
  }
}

__kernel void nf4_dequantize(
    MEMORY(float, y), MEMORY(uchar, codes), MEMORY(float, absmax), const long count, const nf4_numbers numbers) {
  const long i = get_global_id(0);
  if (i >= count) return;
  const uint code = AT(uchar, codes)[i / 2] >> (i % 2 ? 0 : 4) & 15;
  AT(float, y)[i] = numbers.value[code] * AT(float, absmax)[i / 64];
}

__kernel void mean(MEMORY(float, out), MEMORY(float, x), const long count) {
  double sum = 0;
  for (long i = 0; i < count; i++) sum += AT(float, x)[i];
  *AT(float, out) = count > 0 ? sum / count : 0;
}

__kernel void shift(MEMORY(float, x), MEMORY(float, by), const float sign, const long count) {
  const long i = get_global_id(0);
  if (i < count) AT(float, x)[i] += sign * *AT(float, by);
}

// The blocks of GGUF: 32 elements behind one or two numbers of 16 bits. An item has a block.

// As kiln_block_format numbers them.
enum { Q4_0 = 2, Q4_1 = 3, Q8_0 = 8 };

typedef struct {
  long across, x, blocks;  // blocks in a row; from row to row of x and of the blocks
  int bytes, format;       // bytes of a block
} gguf;

static void put_short(__global uchar *p, const uint code) {
  p[0] = code;
  p[1] = code >> 8;
}

static float short_value(__global const uchar *p, const narrow *f16) { return narrow_value(p[0] | p[1] << 8, f16); }

// Codes of 4 bits: (x - low) factor + add, without its fraction.
static void pack(__global uchar *out, __global const float *x, const float low, const float factor, const float add) {
  for (int j = 0; j < 16; j++) {
    const uint first = fmin((x[j] - low) * factor + add, 15.0f), second = fmin((x[j + 16] - low) * factor + add, 15.0f);
    out[j] = first | second << 4;
  }
}

__kernel void gguf_quantize(MEMORY(uchar, blocks), MEMORY(float, x), const long count, const gguf g, const narrow f16) {
  const long block = get_global_id(0), row = block / g.across, at = block % g.across;
  if (block >= count) return;
  __global const float *p = AT(float, x) + row * g.x + at * 32;
  __global uchar *out = AT(uchar, blocks) + row * g.blocks + at * g.bytes;
  float low = p[0], high = p[0], signed_most = 0, most = 0;
  for (int j = 0; j < 32; j++) {
    low = p[j] < low ? p[j] : low;
    high = p[j] > high ? p[j] : high;
    if (fabs(p[j]) > fabs(signed_most)) signed_most = p[j];
    most = larger(most, p[j]);
  }
  if (!(most <= FLT_MAX)) {
    for (int i = 2; i < g.bytes; i++) out[i] = g.format == Q4_0 ? 0x88 : 0;
    put_short(out, f16.nan);
    return;
  }
  const float d = g.format == Q4_0 ? signed_most / -8 : g.format == Q4_1 ? (high - low) / 15 : most / 127;
  const float factor = fabs(d) >= FLT_MIN ? 1 / d : 0;
  put_short(out, narrow_code(d, &f16, 0, 0));
  if (g.format == Q4_0) {
    pack(out + 2, p, 0, factor, 8.5f);
  } else if (g.format == Q4_1) {
    put_short(out + 2, narrow_code(low, &f16, 0, 0));
    pack(out + 4, p, low, factor, 0.5f);
  } else {
    for (int j = 0; j < 32; j++) out[2 + j] = (char)round(p[j] * factor);
  }
}

__kernel void gguf_dequantize(
    MEMORY(float, y), MEMORY(uchar, blocks), const long count, const gguf g, const narrow f16) {
  const long block = get_global_id(0), row = block / g.across, at = block % g.across;
  if (block >= count) return;
  __global float *out = AT(float, y) + row * g.x + at * 32;
  __global const uchar *p = AT(uchar, blocks) + row * g.blocks + at * g.bytes;
  const float d = short_value(p, &f16), low = g.format == Q4_1 ? short_value(p + 2, &f16) : 0;
  p += g.format == Q4_1 ? 4 : 2;
  for (int j = 0; j < 32; j++) {
    const int code = g.format == Q8_0 ? (char)p[j] : j < 16 ? p[j] & 15 : p[j - 16] >> 4;
    out[j] = g.format == Q4_0 ? (code - 8) * d : g.format == Q4_1 ? code * d + low : code * d;
  }
}
