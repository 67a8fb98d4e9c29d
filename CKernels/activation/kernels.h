// Activations, gated activations and dropout: what the kernels take. Serial; n elements, one after the other.
#ifndef KILN_ACTIVATION_KERNELS_H
#define KILN_ACTIVATION_KERNELS_H

#include <kiln.h>

#include "random/philox.h"

typedef struct kiln__dropout_args {
  kiln__random random;
  uint32_t threshold;  // an element stays if its random word is at least this
  double scale;        // what it is then multiplied with
} kiln__dropout_args;

typedef struct kiln__activation_kernels {
  // y = act(x)
  void (*fwd)(kiln_activation kind, void *y, const void *x, int64_t n);
  // dx = dy * act'(x)
  void (*bwd)(kiln_activation kind, void *dx, const void *dy, const void *x, int64_t n);
  // y = silu(gate) * up
  void (*swiglu_fwd)(void *y, const void *gate, const void *up, int64_t n);
  void (*swiglu_bwd)(void *dgate, void *dup, const void *dy, const void *gate, const void *up, int64_t n);
  // y = x * (0 or scale); `first` is the row-major index of the first element
  void (*dropout)(const kiln__dropout_args *a, void *y, const void *x, int64_t first, int64_t n);
} kiln__activation_kernels;

extern const kiln__activation_kernels kiln__activation_ref_f32, kiln__activation_ref_f64, kiln__activation_ref_bf16,
    kiln__activation_ref_f16;

// One element in the type of arithmetic, by libm: for the references of other families.
float kiln__act_value_f32(kiln_activation kind, float x), kiln__act_slope_f32(kiln_activation kind, float x);
float kiln__act_value_bf16(kiln_activation kind, float x), kiln__act_slope_bf16(kiln_activation kind, float x);
float kiln__act_value_f16(kiln_activation kind, float x), kiln__act_slope_f16(kiln_activation kind, float x);
double kiln__act_value_f64(kiln_activation kind, double x);
double kiln__act_slope_f64(kiln_activation kind, double x);

#endif
