// Before every program: how arguments arrive, sums over a work group, activations, random numbers, 8-bit maps.
//
// GROUP work items share a row: 1 on CPUs, where an item has vectors of its own.

#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#pragma OPENCL FP_CONTRACT ON

// A buffer and a place in it, in bytes; AT is the address, 0 for none.
#define MEMORY(T, x) __global T *x##_memory, ulong x##_at
#define AT(T, x) ((__global T *)((__global char *)x##_memory + x##_at))

// fp32 from bits of bf16, and from several of fp16 by way of an aligned vector, since pocl takes half vectors to be.
static inline float __attribute__((overloadable)) from_bf16(const ushort bits) { return as_float((uint)bits << 16); }
#define WIDENED(n)                                                                       \
  static inline float##n __attribute__((overloadable)) from_bf16(const ushort##n bits) { \
    return as_float##n(convert_uint##n(bits) << 16);                                     \
  }                                                                                      \
  static inline float##n __attribute__((overloadable)) from_f16(const ushort##n bits) {  \
    return vload_half##n(0, (const half *)&bits);                                        \
  }
WIDENED(4)
WIDENED(8)
WIDENED(16)

// Tensors are kept as `real`, which is float, or in 16 bits, BF16 or F16, and are floats in registers: get and put one,
// get8 and put8 as many side by side.
#if defined(BF16)
typedef ushort real;
static inline float get(__global const real *p) { return from_bf16(*p); }
static inline void put(const float x, __global real *p) {
  const uint bits = as_uint(x);
  *p = isnan(x) ? bits >> 16 | 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
#define REALS(n)                                                                                                 \
  static inline float##n get##n(__global const real *p) {                                                        \
    return from_bf16(vload##n(0, p));                                                                            \
  }                                                                                                              \
  static inline void put##n(const float##n x, __global real *p) {                                                \
    const uint##n bits = as_uint##n(x), rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;                      \
    vstore##n(convert_ushort##n(isnan(x) ? bits >> 16 | 0x7fc0 : rounded), 0, p);                                \
  }
#elif defined(F16)
typedef half real;
static inline float get(__global const real *p) { return vload_half(0, p); }
static inline void put(const float x, __global real *p) { vstore_half_rte(x, 0, p); }
#define REALS(n)                                                         \
  static inline float##n get##n(__global const real *p) {                \
    return from_f16(vload##n(0, (__global const ushort *)p));              \
  }                                                                      \
  static inline void put##n(const float##n x, __global real *p) {        \
    ushort##n bits;                                                      \
    vstore_half##n##_rte(x, 0, (half *)&bits);                           \
    vstore##n(bits, 0, (__global ushort *)p);                            \
  }
#else
typedef float real;
static inline float get(__global const real *p) { return *p; }
static inline void put(const float x, __global real *p) { *p = x; }
#define REALS(n)                                                                        \
  static inline float##n get##n(__global const real *p) { return vload##n(0, p); }      \
  static inline void put##n(const float##n x, __global real *p) { vstore##n(x, 0, p); }
#endif
REALS(4)
REALS(8)
REALS(16)

// The first `there` of 8 side by side; `rest` is read for the others.
static inline float8 get8_of(__global const real *p, const long there, const float rest) {
  if (there >= 8) return get8(p);
  float v[8];
  for (int k = 0; k < 8; k++) v[k] = k < there ? get(p + k) : rest;
  return vload8(0, v);
}

static inline void put8_of(const float8 x, __global real *p, const long there) {
  if (there >= 8) {
    put8(x, p);
    return;
  }
  float v[8];
  vstore8(x, 0, v);
  for (int k = 0; k < there; k++) put(v[k], p + k);
}

// How up to 6 views of one shape lie: `rank` dimensions, the last one first to run.
typedef struct {
  long count, rank;
  long shape[7], strides[6][7];
} layout;

// Where element i, counted by rows, lies in a view.
static inline long place(const layout *l, int view, long i) {
  long at = 0;
  for (int d = (int)l->rank - 1; d > 0; d--) {
    at += i % l->shape[d] * l->strides[view][d];
    i /= l->shape[d];
  }
  return at + i * l->strides[view][0];
}

// group_sum and group_max: over a work group, for each of its items.
#define SUM(a, b) ((a) + (b))
#ifdef SUBGROUPS
// Each subgroup by itself, then one after the other.
#define REDUCTION(name, PAIR, OF_SUBGROUP)                                                                 \
  static inline float name(float x, __local float *shared) {                                               \
    const float part = OF_SUBGROUP(x);                                                                     \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                          \
    if (get_sub_group_local_id() == 0) shared[get_sub_group_id()] = part;                                  \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                          \
    float all = shared[0];                                                                                 \
    for (uint i = 1; i < get_num_sub_groups(); i++) all = PAIR(all, shared[i]);                            \
    return all;                                                                                            \
  }
#elif GROUP > 1
#define REDUCTION(name, PAIR, OF_SUBGROUP)                                                                 \
  static inline float name(float x, __local float *shared) {                                               \
    const int item = get_local_id(0);                                                                      \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                          \
    shared[item] = x;                                                                                      \
    for (int half_of = GROUP / 2; half_of > 0; half_of /= 2) {                                             \
      barrier(CLK_LOCAL_MEM_FENCE);                                                                        \
      if (item < half_of) shared[item] = PAIR(shared[item], shared[item + half_of]);                       \
    }                                                                                                      \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                          \
    return shared[0];                                                                                      \
  }
#else
#define REDUCTION(name, PAIR, OF_SUBGROUP) \
  static inline float name(float x, __local float *shared) { return x; }
#endif
REDUCTION(group_sum, SUM, sub_group_reduce_add)
REDUCTION(group_max, max, sub_group_reduce_max)

static inline float sum_of(float8 v) {
  const float4 a = v.lo + v.hi;
  return a.x + a.y + (a.z + a.w);
}

// In fp64, whose sum is that of the squares of 8.
static inline double4 squares_of(float8 v) {
  const double4 a = convert_double4(v.lo), b = convert_double4(v.hi);
  return a * a + b * b;
}

static inline double sum_of_4(double4 v) { return v.x + v.y + (v.z + v.w); }

// kiln_activation.
enum { NONE, RELU, GELU_TANH, GELU_ERF, SILU };

// Far below 0 every activation is 0, where the formulas give -infinity * 0; far above it is x.
#define FAR 1e4f

#define ACTIVATIONS(T)                                                                        \
  static inline T __attribute__((overloadable)) act_value(int kind, T x) {                    \
    const T near = max(x, (T)(-FAR));                                                         \
    switch (kind) {                                                                           \
      case RELU: return x < 0.0f ? (T)(0.0f) : x;                                             \
      case GELU_TANH:                                                                         \
        return near / (1.0f + exp(-1.59576912f * (near + 0.044715f * near * near * near)));   \
      case GELU_ERF: return near / 2.0f * (1.0f + erf(near * 0.70710678f));                   \
      case SILU: return near / (1.0f + exp(-near));                                           \
      default: return x;                                                                      \
    }                                                                                         \
  }                                                                                           \
  static inline T __attribute__((overloadable)) act_slope(int kind, T x) {                    \
    const T near = clamp(x, (T)(-FAR), (T)(FAR));                                             \
    switch (kind) {                                                                           \
      case RELU: return x > 0.0f ? (T)(1.0f) : x <= 0.0f ? (T)(0.0f) : x;                     \
      case GELU_TANH: {                                                                       \
        const T e = exp(min(-1.59576912f * (near + 0.044715f * near * near * near), (T)(80.0f))); \
        const T s = 1.0f / (1.0f + e);                                                        \
        return s + near * s * (e * s) * 1.59576912f * (1.0f + 0.134145f * near * near);       \
      }                                                                                       \
      case GELU_ERF:                                                                          \
        return (1.0f + erf(near * 0.70710678f)) / 2.0f + near * 0.39894228f * exp(-near * near / 2.0f); \
      case SILU: {                                                                            \
        const T s = 1.0f / (1.0f + exp(-near));                                               \
        return s + near * s * (1.0f - s);                                                     \
      }                                                                                       \
      default: return (T)(1.0f);                                                              \
    }                                                                                         \
  }
ACTIVATIONS(float)
ACTIVATIONS(float8)

// Philox4x32-10: random/philox.h. Word i of the stream that `key` and `counter` name.
static uint philox_word(const long i, const uint2 key, const uint4 counter) {
  uint4 c = (uint4)((uint)(i / 4), counter.y, counter.z, counter.w);
  uint2 k = key;
  for (int round = 0; round < 10; round++) {
    const uint high0 = mul_hi(c.x, 0xD2511F53u), low0 = c.x * 0xD2511F53u;
    const uint high1 = mul_hi(c.z, 0xCD9E8D57u), low1 = c.z * 0xCD9E8D57u;
    c = (uint4)(high1 ^ c.y ^ k.x, low1, high0 ^ c.w ^ k.y, low0);
    k += (uint2)(0x9E3779B9u, 0xBB67AE85u);
  }
  switch (i % 4) {
    case 0: return c.x;
    case 1: return c.y;
    case 2: return c.z;
    default: return c.w;
  }
}

// Numbers in 8 bits: codes of a map (quant/dynamic_map.h), times the largest magnitude of a block of 256.

enum { BLOCK = 256 };

typedef struct {
  float value[256];
  int zero, most;
  float edge[257];
} dynamic_map;

static uchar code_of(__global const dynamic_map *map, const float x) {
  const float size = fabs(x);
  int k = 0;  // as many edges as it reaches
  for (int step = 128; step > 0; step /= 2) {
    if (size >= map->edge[k + step - 1]) k += step;
  }
  return map->zero + (x < 0 ? -min(k, map->most) : k);
}

static void decode(float *to, __global const uchar *codes, const float scale, __global const dynamic_map *map, int n) {
  for (int i = 0; i < n; i++) to[i] = map->value[codes[i]] * scale;
}

// Of magnitudes and NaN, which is the larger one.
static float larger(const float most, const float x) { return isnan(most) || fabs(x) <= most ? most : fabs(x); }

static void encode(
    __global uchar *codes, __global float *scale, const float *from, __global const dynamic_map *map, int n) {
  float most = 0;
  for (int i = 0; i < n; i++) most = larger(most, from[i]);
  const float inverse = most >= FLT_MIN && most <= FLT_MAX ? 1 / most : 0;
  *scale = most < FLT_MIN ? 0 : most <= FLT_MAX ? most : NAN;
  for (int i = 0; i < n; i++) codes[i] = inverse > 0 ? code_of(map, from[i] * inverse) : map->zero;
}
