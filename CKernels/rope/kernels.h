// Rotary position embedding: what the kernels take.
#ifndef KILN_ROPE_KERNELS_H
#define KILN_ROPE_KERNELS_H

#include <kiln.h>

// y and x [b, t, h, d] of the column's dtype, by the strides of their dimensions; y may be x.
typedef struct kiln__rope_args {
  void *y;
  const void *x;
  int64_t y_b, y_t, y_h, x_b, x_t, x_h;
  int64_t t, h, half;     // half: d / 2
  const void *cos, *sin;  // [t, half], wide (kiln__wide)
} kiln__rope_args;

typedef struct kiln__rope_kernels {
  // Rows begin ..< end of the b * t rows of h heads.
  void (*rotate)(const kiln__rope_args *a, int64_t begin, int64_t end);
} kiln__rope_kernels;

extern const kiln__rope_kernels kiln__rope_ref_f32, kiln__rope_ref_f64, kiln__rope_ref_bf16, kiln__rope_ref_f16;

#endif
