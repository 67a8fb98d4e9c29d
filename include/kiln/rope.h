/// Rotary position embedding (Su et al., arXiv 2104.09864), in the half-split layout of Hugging Face: dimension i is
/// paired with i + d/2.
#ifndef KILN_ROPE_H
#define KILN_ROPE_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kiln_rope_scaling {
  KILN_ROPE_DEFAULT = 0, ///< frequency_i = base^(-2i/d)
  KILN_ROPE_LINEAR = 1,  ///< frequency_i / factor
  KILN_ROPE_LLAMA3 = 2   ///< by wavelength w = 2 pi / frequency: w < original/high kept, w > original/low divided by
                         ///< factor, between them blended linearly in original/w
} kiln_rope_scaling;

typedef struct kiln_rope_options {
  uint32_t size;
  kiln_rope_scaling scaling;
  double base;                 ///< default 10000
  double factor;               ///< default 1
  double low_freq_factor;      ///< default 1
  double high_freq_factor;     ///< default 4
  int64_t original_context;    ///< default 8192
} kiln_rope_options;

static inline kiln_rope_options kiln_rope_defaults(void) {
  kiln_rope_options o = {(uint32_t)sizeof(kiln_rope_options), KILN_ROPE_DEFAULT, 10000, 1, 1, 4, 8192};
  return o;
}

/// y = x rotated by the angle position * frequency_i in each plane (i, i + d/2).
/// y, x [b, t, h, d] of one dtype (F32, F64, BF16 or F16), d even, stride 1 in d, any other strides; positions I32 [t],
/// dense. y may be x.
/// Angles are computed in fp64.
KILN_API kiln_status kiln_rope_fwd(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x,
                                   const kiln_tensor *positions, const kiln_rope_options *options);

/// dx = dy rotated by the negative angles. Shapes as above; dx may be dy.
KILN_API kiln_status kiln_rope_bwd(kiln_context *ctx, const kiln_tensor *dx, const kiln_tensor *dy,
                                   const kiln_tensor *positions, const kiln_rope_options *options);

#ifdef __cplusplus
}
#endif
#endif
