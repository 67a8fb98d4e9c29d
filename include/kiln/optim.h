/// Optimizer updates. w, g and states are dense and of one number of elements; w and g are F32, or F64 for the reference;
/// methods with kiln_state_options also take w in BF16 beside g in F32.
/// Everything but g is updated in place, and states start as zeros. `grad_scale` multiplies the gradient as it is read:
/// clipping without a pass of its own. Element-wise methods take one pass over memory; LARS, LAMB and Adafactor reduce
/// first, in an order that depends on the shape alone.
///
/// How states may be kept beside w in F32 (KILN_ERR_DTYPE otherwise):
///
/// | method                                        | F32 | BF16 | U8 blocks |
/// |-----------------------------------------------|-----|------|-----------|
/// | SGD (all forms), Adam, AdamW, Lion, LARS, Muon | yes | yes  | yes       |
/// | LAMB, which reads its moments once more        | yes | yes  | no        |
/// | Adafactor, Schedule-Free                      | yes | no   | no        |
#ifndef KILN_OPTIM_H
#define KILN_OPTIM_H

#include "random.h"

#ifdef __cplusplus
extern "C" {
#endif

/// How states, and weights in BF16, are kept beside what their dtype says. Weights follow the moments before these are rounded.
/// BF16: to the nearest, or stochastically: up with the probability of the part that is cut off, by 16 bits of
/// Philox4x32-10: the low (first state) or high (second state) half of element i's word (random.h).
/// U8: codes of a dynamic map (Dettmers et al., arXiv 2110.02861), signed for means and unsigned for squares, times the
/// largest magnitude of each 256 elements; the nearest code, ties away from 0. Blocks below 1.2e-38 become 0, those
/// with a number that is not finite NaN.
/// w in BF16: with a remainder, w + remainder is what is updated, w is that to the nearest and remainder what is left of
/// it (Kahan's compensated sum); else stochastically, by the low halves of the words of site + 1.
typedef struct kiln_state_options {
  const kiln_tensor *scales[2]; ///< of the first and second state in U8: F32 [ceil(elements / 256)]
  uint32_t stochastic;          ///< states in BF16 by stochastic rounding, as a function of the following
  uint32_t site;
  uint64_t seed;
  uint64_t step;
  const kiln_tensor *remainder; ///< of w in BF16, and BF16 as well; starts as zeros
  uint32_t linear;              ///< squares in U8 by 0, 1/255, 2/255 ... 1 instead: a control, which loses small ones
  uint32_t reserved;
} kiln_state_options;

#define KILN_STATE_DEFAULTS {{NULL, NULL}, 0, 0, 0, 0, NULL, 0, 0}

typedef struct kiln_sgd_options {
  uint32_t size;
  uint32_t nesterov;      ///< look ahead; needs momentum > 0
  double lr;
  double momentum;        ///< default 0; otherwise in (0, 1)
  double weight_decay;    ///< default 0; coupled: added to the gradient
  double grad_scale;      ///< default 1
  double l1;              ///< default 0: weight of the sum of |w|
  double group;           ///< default 0: weight of the sum of the norms of w's rows; needs rank >= 2
  double low, high;
  uint32_t box;           ///< elements of w lie in [low, high]
  uint32_t heavy_ball;    ///< lr inside the velocity; needs momentum > 0
  kiln_state_options states;
} kiln_sgd_options;

static inline kiln_sgd_options kiln_sgd_defaults(void) {
  kiln_sgd_options o = {(uint32_t)sizeof(kiln_sgd_options), 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, KILN_STATE_DEFAULTS};
  return o;
}

/// g' = grad_scale * g + weight_decay * w; with momentum: m = momentum * m + g', then g' = m, or g' + momentum * m
/// (nesterov); w -= lr * g'. The form of torch.optim.SGD without dampening; the first step starts from m = 0.
/// heavy_ball (Polyak): m = momentum * m - lr * g'; w += m. It differs where lr changes.
/// Then the proximal operator of lr (l1 sum |w| + group sum of ||rows||) and of the box: soft threshold, clamp, and
/// each row times max(0, 1 - lr group / ||row||).
/// w, m updated in place; m may be NULL iff momentum is 0.
KILN_API kiln_status kiln_sgd(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *g,
                              const kiln_sgd_options *options);

/// y = w + factor (w - x), the point beyond the last two; then x = w and w = y. x of w's dtype and size. After kiln_sgd
/// with its proximal operator this is the accelerated proximal gradient (Beck & Teboulle 2009), x the iterate and w the
/// point at which gradients are taken; with factor 0 x begins as w, whatever it holds.
KILN_API kiln_status kiln_extrapolate(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *x, double factor);

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
  kiln_state_options states;
} kiln_adam_options;

static inline kiln_adam_options kiln_adam_defaults(void) {
  kiln_adam_options o = {(uint32_t)sizeof(kiln_adam_options), 0, 1, 0, 0.9, 0.999, 1e-8, 0, 1, KILN_STATE_DEFAULTS};
  return o;
}

/// Adam (Kingma & Ba, arXiv 1412.6980) in the form of torch.optim.Adam and AdamW:
/// m = beta1 m + (1 - beta1) g; v = beta2 v + (1 - beta2) g^2;
/// w -= lr / (1 - beta1^step) * m / (sqrt(v) / sqrt(1 - beta2^step) + eps). w, m, v updated in place.
KILN_API kiln_status kiln_adam(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *v,
                               const kiln_tensor *g, const kiln_adam_options *options);

typedef struct kiln_lion_options {
  uint32_t size;
  uint32_t reserved;
  double lr;
  double beta1;           ///< default 0.9
  double beta2;           ///< default 0.99
  double weight_decay;    ///< default 0; decoupled
  double grad_scale;      ///< default 1
  kiln_state_options states;
} kiln_lion_options;

static inline kiln_lion_options kiln_lion_defaults(void) {
  kiln_lion_options o = {(uint32_t)sizeof(kiln_lion_options), 0, 0, 0.9, 0.99, 0, 1, KILN_STATE_DEFAULTS};
  return o;
}

/// Lion (Chen et al., arXiv 2302.06675): w = (1 - lr weight_decay) w - lr sign(beta1 m + (1 - beta1) g), sign(0) = 0;
/// then m = beta2 m + (1 - beta2) g.
KILN_API kiln_status kiln_lion(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *g,
                               const kiln_lion_options *options);

typedef struct kiln_schedule_free_options {
  uint32_t size;
  uint32_t reserved;
  int64_t step;           ///< 1 for the first update
  double lr;
  double share;           ///< of this step in the average, in [0, 1]: lr_max^2 over the sum of it over all steps so far
  double beta1;           ///< default 0.9: where gradients are taken, between z (0) and the average (1)
  double beta2;           ///< default 0.999
  double eps;             ///< default 1e-8
  double weight_decay;    ///< default 0
  double grad_scale;      ///< default 1
} kiln_schedule_free_options;

static inline kiln_schedule_free_options kiln_schedule_free_defaults(void) {
  kiln_schedule_free_options o = {(uint32_t)sizeof(kiln_schedule_free_options), 0, 1, 0, 1, 0.9, 0.999, 1e-8, 0, 1};
  return o;
}

/// Schedule-Free AdamW (Defazio et al., arXiv 2405.15682) in the form of the package schedulefree; w is the point y at
/// which gradients are taken, and z starts as w at step 1, whatever it holds:
/// v = beta2 v + (1 - beta2) g^2; d = g / (sqrt(v) / sqrt(1 - beta2^step) + eps) + weight_decay w;
/// w += share (z - w) + lr (beta1 (1 - share) - 1) d; z -= lr d.
KILN_API kiln_status kiln_schedule_free(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *v,
                                        const kiln_tensor *z, const kiln_tensor *g,
                                        const kiln_schedule_free_options *options);

/// x = (w - (1 - beta1) z) / beta1: the average, which is what is evaluated and kept. x of w's shape; 0 < beta1 < 1.
KILN_API kiln_status kiln_schedule_free_average(kiln_context *ctx, const kiln_tensor *x, const kiln_tensor *w,
                                                const kiln_tensor *z, double beta1);

typedef struct kiln_lars_options {
  uint32_t size;
  uint32_t nesterov;
  double lr;
  double momentum;        ///< default 0.9
  double weight_decay;    ///< default 0
  double trust;           ///< default 0.001; 0: the ratio is 1, as for gains and biases
  double eps;             ///< default 1e-8
  double grad_scale;      ///< default 1
  kiln_state_options states;
} kiln_lars_options;

static inline kiln_lars_options kiln_lars_defaults(void) {
  kiln_lars_options o = {(uint32_t)sizeof(kiln_lars_options), 0, 0, 0.9, 0, 0.001, 1e-8, 1, KILN_STATE_DEFAULTS};
  return o;
}

/// LARS (You et al., arXiv 1708.03888) in the form of timm: kiln_sgd on r (g + weight_decay w), with
/// r = trust ||w|| / (||g|| + weight_decay ||w|| + eps), or 1 where a norm is 0.
KILN_API kiln_status kiln_lars(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *g,
                               const kiln_lars_options *options);

typedef struct kiln_lamb_options {
  uint32_t size;
  uint32_t adapt;         ///< default 1; 0: the ratio is 1, as for gains and biases
  int64_t step;           ///< 1 for the first update
  double lr;
  double beta1;           ///< default 0.9
  double beta2;           ///< default 0.999
  double eps;             ///< default 1e-6
  double weight_decay;    ///< default 0
  double grad_scale;      ///< default 1
  uint32_t clip_trust;    ///< the ratio is at most 1 (LAMBC)
  uint32_t reserved;
  kiln_state_options states;
} kiln_lamb_options;

static inline kiln_lamb_options kiln_lamb_defaults(void) {
  kiln_lamb_options o = {(uint32_t)sizeof(kiln_lamb_options), 1, 1, 0, 0.9, 0.999, 1e-6, 0, 1, 0, 0,
                         KILN_STATE_DEFAULTS};
  return o;
}

/// LAMB (You et al., arXiv 1904.00962) in the form of timm, which is that of apex's mode 1: with Adam's m and v,
/// u = m / (1 - beta1^step) / (sqrt(v) / sqrt(1 - beta2^step) + eps) + weight_decay w; w -= lr r u, r = ||w|| / ||u||,
/// or 1 where a norm is 0. Their clipping of the global norm is the caller's, through grad_scale. With states in BF16
/// the step is taken from the moments as they are kept.
KILN_API kiln_status kiln_lamb(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *v,
                               const kiln_tensor *g, const kiln_lamb_options *options);

typedef struct kiln_adafactor_options {
  uint32_t size;
  uint32_t relative_step;   ///< default 1: lr multiplies min(0.01, 1 / sqrt(step))
  int64_t step;             ///< 1 for the first update
  double lr;                ///< default 1
  double decay_rate;        ///< default 0.8
  double eps1;              ///< default 1e-30: added to squares
  double eps2;              ///< default 1e-3: the least root mean square of w that counts
  double clip;              ///< default 1: the most root mean square of an update
  double weight_decay;      ///< default 0; decoupled
  double grad_scale;        ///< default 1
  uint32_t scale_parameter; ///< default 1: the step is relative to the root mean square of w
  uint32_t reserved;
} kiln_adafactor_options;

static inline kiln_adafactor_options kiln_adafactor_defaults(void) {
  kiln_adafactor_options o = {(uint32_t)sizeof(kiln_adafactor_options), 1, 1, 1, 0.8, 1e-30, 1e-3, 1, 0, 1, 1, 0};
  return o;
}

/// Adafactor (Shazeer & Stern, arXiv 1804.04235) in the form of transformers, without first moment:
/// b = 1 - step^-decay_rate; v = b v + (1 - b) (g^2 + eps1); u = g / sqrt(v), divided by max(1, RMS(u) / clip);
/// w -= a (u + weight_decay w), a = lr [min(0.01, 1 / sqrt(step))] [max(eps2, RMS(w))].
/// Either v is given, of w's size, or, for a matrix w [r, c], the averages `row` [r] and `column` [c] of its rows and
/// columns, whose v is row column / mean(row); the others are NULL.
KILN_API kiln_status kiln_adafactor(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *v,
                                    const kiln_tensor *row, const kiln_tensor *column, const kiln_tensor *g,
                                    const kiln_adafactor_options *options);

typedef struct kiln_muon_options {
  uint32_t size;
  uint32_t nesterov;        ///< default 1
  double lr;
  double momentum;          ///< default 0.95
  double weight_decay;      ///< default 0; decoupled
  double grad_scale;        ///< default 1
  uint32_t match_rms;       ///< scale 0.2 sqrt(max(r, c)), about the size of AdamW's updates; default sqrt(max(1, r / c))
  uint32_t parts;           ///< default 1: matrices that lie side by side in w, such as queries, keys and values
  uint32_t split_columns;   ///< they are blocks of columns, not of rows
  uint32_t reserved;
  kiln_state_options states;
} kiln_muon_options;

static inline kiln_muon_options kiln_muon_defaults(void) {
  kiln_muon_options o = {(uint32_t)sizeof(kiln_muon_options), 1, 0, 0.95, 0, 1, 0, 1, 0, 0, KILN_STATE_DEFAULTS};
  return o;
}

/// Muon (Jordan et al. 2024) for matrices w: m = momentum m + (1 - momentum) g, u the same average of m and g (nesterov)
/// or m; each part [r, c] of u orthogonalised by five steps of Newton and Schulz, X = u / (||u|| + 1e-7), A = X X^T,
/// X = 3.4445 X + (-4.7750 A + 2.0315 A^2) X; w = (1 - lr weight_decay) w - lr scale X.
KILN_API kiln_status kiln_muon(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *g,
                               const kiln_muon_options *options);

#ifdef __cplusplus
}
#endif
#endif
