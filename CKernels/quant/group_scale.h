// The scale of an activation group: what the reference and the vector bodies share.
#ifndef KILN_GROUP_SCALE_H
#define KILN_GROUP_SCALE_H

#include "simd/half.h"

// The largest bf16 that is no more than x, and the least that is no less.
KILN_INLINE uint16_t kiln__bf16_below(float x) {
  uint32_t u = kiln__bits_from_f32(x);
  return (uint16_t)((u >> 16) + (u >> 31 && u & 0xffff));
}
KILN_INLINE uint16_t kiln__bf16_above(float x) {
  uint32_t u = kiln__bits_from_f32(x);
  return (uint16_t)((u >> 16) + (!(u >> 31) && u & 0xffff));
}

// Of numbers in low ... high with the largest magnitude `amax`, NaN if one of them is: 0 ... levels steps above the low
// end reach them all.
KILN_INLINE kiln__group_scale kiln__group_scale_of(float low, float high, float levels, float amax) {
  const kiln__group_scale fault = {0x7fc0, 0x7fc0};
  if (!(amax <= 0x1.fep127f)) return fault;  // that is the largest bf16
  // Sums with 0 have no negative zero.
  kiln__group_scale s = {0, kiln__bf16_below(low + 0.0f)};
  s.scale = kiln__bf16_above((high - kiln__f32_from_bf16(s.low)) / levels + 0.0f);
  return s.scale < 0x7f80 ? s : fault;
}

#endif
