// F16 and BF16 from and to wider types. Branch-free, so that a loop over them becomes vector code under any target.
#ifndef KILN_HALF_H
#define KILN_HALF_H

#include <stdint.h>
#include <string.h>

#define KILN_INLINE static inline __attribute__((always_inline))

KILN_INLINE uint32_t kiln__bits_from_f32(float x) { uint32_t u; memcpy(&u, &x, sizeof u); return u; }
KILN_INLINE float kiln__f32_from_bits(uint32_t u) { float x; memcpy(&x, &u, sizeof x); return x; }

// In memory a bf16, the upper half of an fp32, and an f16, IEEE 754's binary16. Structs, so that nobody takes their
// bits for numbers.
typedef struct kiln__bf16 { uint16_t bits; } kiln__bf16;
typedef struct kiln__f16 { uint16_t bits; } kiln__f16;

// Exact. A NaN keeps its sign and payload.
KILN_INLINE float kiln__f32_from_bf16(uint16_t h) { return kiln__f32_from_bits((uint32_t)h << 16); }

// To the nearest, ties to even; too large becomes infinity, a NaN stays one.
KILN_INLINE uint16_t kiln__bf16_from_f32(float x) {
  uint32_t u = kiln__bits_from_f32(x);
  uint32_t nearest = (u + 0x7fff + (u >> 16 & 1)) >> 16;
  return (uint16_t)(x == x ? nearest : u >> 16 | 0x40);
}

KILN_INLINE float kiln__get_bf16(kiln__bf16 x) { return kiln__f32_from_bf16(x.bits); }
KILN_INLINE kiln__bf16 kiln__put_bf16(float x) { return (kiln__bf16){kiln__bf16_from_f32(x)}; }

// Exact. The exponent field is moved as it stands, then a multiplication corrects its bias, for subnormals as well.
KILN_INLINE float kiln__f32_from_f16(uint16_t h) {
  uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = (uint32_t)(h & 0x7fff) << 13;
  uint32_t finite = kiln__bits_from_f32(kiln__f32_from_bits(magnitude) * 0x1p112f);
  uint32_t quiet = magnitude > 0x7c00u << 13 ? 0x400000 : 0;
  return kiln__f32_from_bits(sign | (magnitude >= 0x7c00u << 13 ? magnitude | 0x7f800000 | quiet : finite));
}

// To the nearest, ties to even; from 65520 on infinity, a NaN stays one. Below 2^-14 the result is a multiple of 2^-24:
// adding 0.5, whose last place that is, rounds to it.
KILN_INLINE uint16_t kiln__f16_from_f32(float x) {
  uint32_t u = kiln__bits_from_f32(x), sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
  uint32_t normal = (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
  uint32_t subnormal = kiln__bits_from_f32(kiln__f32_from_bits(magnitude) + 0.5f) - kiln__bits_from_f32(0.5f);
  uint32_t nan = 0x7e00 | (magnitude >> 13 & 0x3ff);
  uint32_t finite = magnitude < 113u << 23 ? subnormal : normal;
  uint32_t large = magnitude > 0x7f800000 ? nan : 0x7c00;
  return (uint16_t)(sign | (magnitude >= 143u << 23 ? large : finite));
}

KILN_INLINE float kiln__get_f16(kiln__f16 x) { return kiln__f32_from_f16(x.bits); }
KILN_INLINE kiln__f16 kiln__put_f16(float x) { return (kiln__f16){kiln__f16_from_f32(x)}; }

// In memory, 8-bit floats: see kiln_cast.
typedef struct kiln__e4m3 { uint8_t bits; } kiln__e4m3;
typedef struct kiln__e5m2 { uint8_t bits; } kiln__e5m2;

// Exact.
KILN_INLINE float kiln__get_e4m3(kiln__e4m3 x) {
  uint32_t sign = (uint32_t)(x.bits & 0x80) << 24, magnitude = x.bits & 0x7f;
  uint32_t finite = kiln__bits_from_f32(kiln__f32_from_bits(magnitude << 20) * 0x1p120f);
  return kiln__f32_from_bits(sign | (magnitude == 0x7f ? 0x7fc00000 : finite));
}
// The upper half of an f16.
KILN_INLINE float kiln__get_e5m2(kiln__e5m2 x) { return kiln__f32_from_f16((uint16_t)(x.bits << 8)); }

// F64 to fp32, rounded to odd: rounding the result once more, to a type narrower by 2 bits or more, gives what rounding
// x directly would give.
KILN_INLINE float kiln__f32_odd_from_f64(double x) {
  float nearest = (float)x;
  double back = nearest;
  uint32_t u = kiln__bits_from_f32(nearest);
  uint32_t toward_zero = u - (__builtin_fabs(back) > __builtin_fabs(x));
  return back == x || x != x ? nearest : kiln__f32_from_bits(toward_zero | 1);
}

#endif
