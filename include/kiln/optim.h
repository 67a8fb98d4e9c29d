/// Optimizer updates: one pass over memory each. All tensors dense, of one number of elements, all F32 or all F64.
/// `grad_scale` multiplies the gradient as it is read: clipping without a pass of its own.
#ifndef KILN_OPTIM_H
#define KILN_OPTIM_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kiln_sgd_options {
  uint32_t size;
  uint32_t nesterov;      ///< look ahead; needs momentum > 0
  double lr;
  double momentum;        ///< default 0; otherwise in (0, 1)
  double weight_decay;    ///< default 0; coupled: added to the gradient
  double grad_scale;      ///< default 1
} kiln_sgd_options;

static inline kiln_sgd_options kiln_sgd_defaults(void) {
  kiln_sgd_options o = {(uint32_t)sizeof(kiln_sgd_options), 0, 0, 0, 0, 1};
  return o;
}

/// g' = grad_scale * g + weight_decay * w; with momentum: m = momentum * m + g', then g' = m, or g' + momentum * m
/// (nesterov); w -= lr * g'. The form of torch.optim.SGD without dampening; the first step starts from m = 0.
/// w, m updated in place; m may be NULL iff momentum is 0.
KILN_API kiln_status kiln_sgd(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *g,
                              const kiln_sgd_options *options);

typedef struct kiln_adam_options {
  uint32_t size;
  uint32_t decoupled;     ///< AdamW (arXiv 1711.05101): w *= 1 - lr * weight_decay; otherwise the decay is added to g
  int64_t step;           ///< 1 for the first update
  double lr;
  double beta1;           ///< default 0.9
  double beta2;           ///< default 0.999
  double eps;             ///< default 1e-8
  double weight_decay;    ///< default 0
  double grad_scale;      ///< default 1
} kiln_adam_options;

static inline kiln_adam_options kiln_adam_defaults(void) {
  kiln_adam_options o = {(uint32_t)sizeof(kiln_adam_options), 0, 1, 0, 0.9, 0.999, 1e-8, 0, 1};
  return o;
}

/// Adam (Kingma & Ba, arXiv 1412.6980) in the form of torch.optim.Adam and AdamW:
/// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
/// w -= lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + eps). w, m, v updated in place.
KILN_API kiln_status kiln_adam(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *v,
                               const kiln_tensor *g, const kiln_adam_options *options);

#ifdef __cplusplus
}
#endif
#endif
