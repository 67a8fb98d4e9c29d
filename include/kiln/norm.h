/// Layer normalisation (Ba et al., arXiv 1607.06450) and RMS normalisation (Zhang & Sennrich, arXiv 1910.07467).
/// Rows are all dimensions but the last, c; views need stride 1 in c and leading dimensions that fold into one stride.
/// All F32, F64, BF16 or F16; beside a narrow type the vectors gain, bias, dgain and dbias are F32.
#ifndef KILN_NORM_H
#define KILN_NORM_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kiln_norm_options {
  uint32_t size;
  float eps;                    ///< default 1e-5
  uint32_t accumulate_dx;       ///< backward: dx += instead of dx =
  uint32_t accumulate_params;   ///< backward: dgain, dbias += instead of =
} kiln_norm_options;

static inline kiln_norm_options kiln_norm_defaults(void) {
  kiln_norm_options o = {(uint32_t)sizeof(kiln_norm_options), 1e-5f, 0, 0};
  return o;
}

/// y = (x - mean(x)) / sqrt(var(x) + eps) * gain + bias, mean and biased variance over c.
/// y, x [..., c]; gain, bias [c], each may be NULL (1 and 0). y may be x. Statistics are summed in fp32 or wider.
KILN_API kiln_status kiln_layer_norm_fwd(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x,
                                         const kiln_tensor *gain, const kiln_tensor *bias,
                                         const kiln_norm_options *options);

/// Gradients of the above; the statistics are computed again from x.
/// With xhat = (x - mean) * r, r = 1/sqrt(var + eps), u = dy * gain:
/// dx = r * (u - mean(u) - xhat * mean(u * xhat)); dgain = sum over rows of dy * xhat; dbias = sum over rows of dy.
/// dx, dy, x [..., c]; dgain, dbias, gain [c]. dx, dgain, dbias may each be NULL (not wanted). dx may be dy.
KILN_API kiln_status kiln_layer_norm_bwd(kiln_context *ctx, const kiln_tensor *dx, const kiln_tensor *dgain,
                                         const kiln_tensor *dbias, const kiln_tensor *dy, const kiln_tensor *x,
                                         const kiln_tensor *gain, const kiln_norm_options *options);

/// y = x / sqrt(mean(x^2) + eps) * gain. y, x [..., c]; gain [c] or NULL. y may be x.
KILN_API kiln_status kiln_rms_norm_fwd(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x,
                                       const kiln_tensor *gain, const kiln_norm_options *options);

/// Gradients of the above. With xhat = x * r, u = dy * gain: dx = r * (u - xhat * mean(u * xhat));
/// dgain = sum over rows of dy * xhat. dx, dgain may each be NULL. dx may be dy.
KILN_API kiln_status kiln_rms_norm_bwd(kiln_context *ctx, const kiln_tensor *dx, const kiln_tensor *dgain,
                                       const kiln_tensor *dy, const kiln_tensor *x, const kiln_tensor *gain,
                                       const kiln_norm_options *options);

#ifdef __cplusplus
}
#endif
#endif
