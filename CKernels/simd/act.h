// Activations in vectors of both widths: act_value(kind, x), and act_slope(kind, x) for the backward. `kind` is the
// same for a whole call: have the switch outside of loops. NaN gives NaN; far from 0 values are the limits, and slopes
// within 1e-30 of them.
#ifndef KILN_VL
#error "include simd/vec.h first"
#endif

// From here on every activation but ReLU equals its limit.
#define ACT_FAR 1e4f
// Between these slopes are computed: beyond they are the limit, and no term overflows.
#define ACT_FAR_GELU_TANH 9.9f
#define ACT_FAR_SILU 87.0f
#define ACT_FAR_GELU_ERF 13.0f

// GELU's x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3), is x / (1 + 2^z) with z = x (a + b x^2) = -2 u log2(e).
#define ACT_GELU_A -2.30220819f
#define ACT_GELU_B -0.102943240f
#define ACT_LN_2 0.693147181f
#define ACT_SQRT_HALF 0.70710678f
#define ACT_1_OVER_SQRT_2PI 0.39894228f

#define VF vf
#define GIVES(name) vf_##name
#include "simd/act_lanes.h"

#define VF vw
#define GIVES(name) vw_##name
#include "simd/act_lanes.h"
