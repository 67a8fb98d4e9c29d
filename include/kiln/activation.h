/// Activations, gated activations and dropout. The views of a call are of one dtype, F32, F64, BF16 or F16, and need
/// stride 1 in the last dimension and leading dimensions that fold into one stride.
#ifndef KILN_ACTIVATION_H
#define KILN_ACTIVATION_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kiln_activation {
  KILN_ACT_NONE = 0,
  KILN_ACT_RELU = 1,      ///< max(x, 0); the gradient at 0 is 0
  KILN_ACT_GELU_TANH = 2, ///< x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))): GPT-2's "gelu_new" (arXiv 1606.08415)
  KILN_ACT_GELU_ERF = 3,  ///< x/2 (1 + erf(x / sqrt(2)))
  KILN_ACT_SILU = 4       ///< x / (1 + exp(-x)) (arXiv 1702.03118)
} kiln_activation;

typedef struct kiln_activation_options {
  uint32_t size;
  kiln_activation kind;
} kiln_activation_options;

static inline kiln_activation_options kiln_activation_defaults(void) {
  kiln_activation_options o = {(uint32_t)sizeof(kiln_activation_options), KILN_ACT_NONE};
  return o;
}

/// y = act(x). y, x of one shape; y may be x.
KILN_API kiln_status kiln_activation_fwd(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x,
                                         const kiln_activation_options *options);

/// dx = dy * act'(x). dx, dy, x of one shape; dx may be dy.
KILN_API kiln_status kiln_activation_bwd(kiln_context *ctx, const kiln_tensor *dx, const kiln_tensor *dy,
                                         const kiln_tensor *x, const kiln_activation_options *options);

/// y = silu(gate) * up (Shazeer, arXiv 2002.05202). All of one shape; y may be gate or up.
KILN_API kiln_status kiln_swiglu_fwd(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *gate,
                                     const kiln_tensor *up);

/// dgate = dy * up * silu'(gate), dup = dy * silu(gate). All of one shape; dgate or dup may be dy, gate or up.
KILN_API kiln_status kiln_swiglu_bwd(kiln_context *ctx, const kiln_tensor *dgate, const kiln_tensor *dup,
                                     const kiln_tensor *dy, const kiln_tensor *gate, const kiln_tensor *up);

typedef struct kiln_dropout_options {
  uint32_t size;
  float probability; ///< of an element becoming 0, in [0, 1)
  uint64_t seed;     ///< the element's random number is a function of (seed, step, site, its row-major index)
  uint64_t step;
  uint32_t site;     ///< which dropout of the model this is
} kiln_dropout_options;

static inline kiln_dropout_options kiln_dropout_defaults(void) {
  kiln_dropout_options o = {(uint32_t)sizeof(kiln_dropout_options), 0, 0, 0, 0};
  return o;
}

/// y = x * keep / (1 - probability), keep drawn anew from the options for each element: the same call on dy is the
/// backward. y, x of one shape; y may be x. (Srivastava et al. 2014)
/// An element is kept if its random word, found as in random.h, is at least probability * 2^32.
/// @return KILN_ERR_OPTION if probability is not in [0, 1)
KILN_API kiln_status kiln_dropout(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x,
                                  const kiln_dropout_options *options);

#ifdef __cplusplus
}
#endif
#endif
