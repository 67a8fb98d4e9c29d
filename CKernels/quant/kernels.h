// Narrow numbers: what the kernels take. Serial, in fp32 alone: other types pass through a buffer (quant/block.h).
// `random` has a word for each element, or is NULL to round to the nearest.
#ifndef KILN_QUANT_KERNELS_H
#define KILN_QUANT_KERNELS_H

#include <kiln.h>
#include "quant/dynamic_map.h"
#include "random/philox.h"

enum { KILN_QUANT_BLOCK = 256, KILN_GGUF_BLOCK = 32, KILN_NF4_BLOCK = 64 };

// A floating-point type of 8 or 16 bits: its sign, exponent and `mantissa` bits of fraction.
typedef struct kiln__narrow_type {
  int32_t bits, mantissa, bias;
  uint32_t limit;     // the magnitude's code from which finite numbers do not go further
  uint32_t infinity;  // the code of infinity
  uint32_t nan;       // of NaN
} kiln__narrow_type;

static inline kiln__narrow_type kiln__narrow_type_of(kiln_dtype dtype) {
  switch (dtype) {
    case KILN_F8_E4M3: return (kiln__narrow_type){8, 3, 7, 0x7e, 0x7f, 0x7f};
    case KILN_F8_E5M2: return (kiln__narrow_type){8, 2, 15, 0x7b, 0x7c, 0x7f};
    case KILN_F16: return (kiln__narrow_type){16, 10, 15, 0x7c00, 0x7c00, 0x7e00};
    default: return (kiln__narrow_type){16, 7, 127, 0x7f80, 0x7f80, 0x7fc0};
  }
}

// bf16, side by side: x = q scale + low.
typedef struct kiln__group_scale { uint16_t scale, low; } kiln__group_scale;

typedef struct kiln__quant_kernels {
  // The words of the elements first ..< first + n: see kiln__random_words.
  const uint32_t *(*words)(uint32_t *buffer, const kiln__random *random, int64_t first, int64_t n);
  // y = x * scale, to and from F16, BF16 or 8 bits.
  void (*narrow)(void *y, const float *x, float scale, kiln_dtype dtype, const uint32_t *random, int64_t n);
  void (*widen)(float *y, const void *x, float scale, kiln_dtype dtype, int64_t n);
  // The largest magnitude; NaN if there is one.
  float (*absmax)(const float *x, int64_t n);
  // amax[i] = the larger of it and |x[i]|; NaN if one is.
  void (*absmax_columns)(float *amax, const float *x, int64_t n);
  // Element i has the scale at i * stride, stride 0 or 1; all codes of the scale NaN are 0.
  void (*to_int8)(int8_t *q, const float *x, const float *scale, int64_t stride, const uint32_t *random, int64_t n);
  void (*from_int8)(float *y, const int8_t *q, const float *scale, int64_t stride, int64_t n);
  // One block: n <= KILN_QUANT_BLOCK elements.
  void (*to_dynamic)(uint8_t *codes, float *scale, const float *x, const kiln__dynamic_map *map, int64_t n);
  void (*from_dynamic)(float *y, const uint8_t *codes, float scale, const kiln__dynamic_map *map, int64_t n);
  // One group: n <= KILN_QUANT_BLOCK elements, and the codes of a whole group.
  void (*to_group)(uint8_t *codes, kiln__group_scale *scale, const float *x, int32_t bits, const uint32_t *random,
                   int64_t n);
  void (*from_group)(float *y, const uint8_t *codes, kiln__group_scale scale, int32_t bits, int64_t n);
  // One block each, n <= KILN_NF4_BLOCK and KILN_GGUF_BLOCK elements.
  void (*from_nf4)(float *y, const uint8_t *codes, float absmax, int64_t n);
  void (*from_gguf)(float *y, const uint8_t *block, kiln_block_format format);
} kiln__quant_kernels;

extern const kiln__quant_kernels kiln__quant_ref_f32;

// The 16 numbers of NF4.
extern const float kiln__nf4[16];

#endif
