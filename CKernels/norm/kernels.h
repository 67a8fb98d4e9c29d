// Layer and RMS normalisation: what the kernels take.
#ifndef KILN_NORM_KERNELS_H
#define KILN_NORM_KERNELS_H

#include <kiln.h>

#include "elementwise/kernels.h"

// Rows of c elements at x + row * ldx, of the column's dtype; gain, bias and their gradients are wide (kiln__wide).
typedef struct kiln__norm_args {
  void *y;                  // forward: the result
  void *dx;                 // backward, may be NULL
  const void *dy, *x;
  const void *gain, *bias;  // [c], may be NULL
  int64_t c, ldy, lddx, lddy, ldx;
  float eps;
  bool center;              // layer norm; otherwise RMS norm, whose mean is taken to be 0
  bool accumulate_dx;
  bool streamed;            // the result is written past the cache, a row of at most KILN_STREAM_ROW bytes at a time
} kiln__norm_args;

typedef struct kiln__norm_kernels {
  // Rows begin ..< end.
  void (*fwd)(const kiln__norm_args *a, int64_t begin, int64_t end);
  // The same rows' dx, and their sums of dy * xhat and dy into dgain and dbias [c] (overwritten; each may be NULL).
  void (*bwd)(const kiln__norm_args *a, void *dgain, void *dbias, int64_t begin, int64_t end);
} kiln__norm_kernels;

extern const kiln__norm_kernels kiln__norm_ref_f32, kiln__norm_ref_f64, kiln__norm_ref_bf16, kiln__norm_ref_f16;

#endif
