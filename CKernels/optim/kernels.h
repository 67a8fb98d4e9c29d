// Optimizer updates: what the kernels take. Arrays are of the column's dtype, fp32 or fp64, but for states and weights
// that are kept narrower. Scalars stay in fp64 until the kernels round them, since 1 - beta in fp32 would carry an error
// of 6e-5.
#ifndef KILN_OPTIM_KERNELS_H
#define KILN_OPTIM_KERNELS_H

#include <kiln.h>

#include "quant/kernels.h"
#include "random/philox.h"

// What an update does with each element p of w, its gradient d = grad_scale g + l2 p and its states s: a formula in
// rules_kernel.h, and again in ref.c. X(name, its states, whether it writes out, its states, the sums).
#define KILN_EACH_RULE(X)                                            \
  X(DESCENT, 0, true, false, false)                                  \
  X(MOMENTUM, 1, true, true, false)          /* m */                 \
  X(HEAVY_BALL, 1, true, true, false)        /* v */                 \
  X(LION, 1, true, true, false)              /* m */                 \
  X(ADAM, 2, true, true, false)              /* m, v */              \
  X(SCHEDULE_FREE, 2, true, true, false)     /* v, z */              \
  X(AVERAGE, 1, true, false, false)          /* out, from w and z */ \
  X(EXTRAPOLATE, 1, true, true, false)       /* x */                 \
  X(NORMS, 0, false, false, true)                                    \
  X(LAMB_MOMENTS, 2, false, true, true)      /* m, v */              \
  X(LAMB_APPLY, 2, true, false, false)       /* w, from m and v */   \
  X(SECOND_MOMENT, 1, false, true, false)    /* v */                 \
  X(NORMALIZED_SUMS, 1, false, false, true)  /* from v */            \
  X(NORMALIZED_APPLY, 1, true, false, false) /* w, from v */         \
  X(MUON_DIRECTION, 1, true, true, false)    /* out, m */

#define KILN_RULE_NAME(NAME, ...) KILN_RULE_##NAME,
typedef enum kiln__rule { KILN_EACH_RULE(KILN_RULE_NAME) KILN_RULES } kiln__rule;
#undef KILN_RULE_NAME

typedef struct kiln__rule_traits {
  int states;
  bool out, keeps, sums;
} kiln__rule_traits;

static inline kiln__rule_traits kiln__traits(kiln__rule rule) {
#define KILN_RULE_TRAITS(NAME, ...) [KILN_RULE_##NAME] = {__VA_ARGS__},
  static const kiln__rule_traits traits[KILN_RULES] = {KILN_EACH_RULE(KILN_RULE_TRAITS)};
#undef KILN_RULE_TRAITS
  return traits[rule];
}

// How a state, or the weight, is kept. Narrow ones are read and written in blocks of KILN_QUANT_BLOCK elements.
typedef enum kiln__codec {
  KILN_CODEC_PLAIN,       // the column's dtype
  KILN_CODEC_BF16,        // rounded to the nearest
  KILN_CODEC_STOCHASTIC,  // bf16, rounded up with the probability of what would be cut off
  KILN_CODEC_SPLIT,       // bf16 to the nearest, and what that leaves out in bf16 again
  KILN_CODEC_8BIT         // codes of a dynamic map, times the largest magnitude of their block
} kiln__codec;

typedef struct kiln__state {
  kiln__codec codec;
  void *values;
  void *remainder;                // split
  float *scales;                  // 8bit
  const kiln__random *random;     // stochastic: the half of element i's word that begins at bit `half`
  int half;
  const kiln__dynamic_map *map;   // 8bit
} kiln__state;

typedef struct kiln__update {
  kiln__state w;
  const void *g;
  void *out;                      // NULL where a rule updates w
  kiln__state state[2];
  double grad_scale, l2;
  double decay;                   // multiplies w
  double lr;
  double keep[2], take[2];        // beta and 1 - beta of the first and of the second average
  double mean_scale, root_scale;  // bias corrections: 1 / (1 - beta1^step), 1 / sqrt(1 - beta2^step)
  double eps;
  double weight_decay;            // where it is part of the direction: LAMB, Schedule-Free
  double blend;                   // of the average: out = p + blend (z - p); of extrapolation: p + blend (p - x)
  double pull;                    // Schedule-Free: what of the direction moves w
  double l1, low, high;           // proximal operator: soft threshold, then clamp
  bool nesterov;
  bool first;                     // Schedule-Free: z starts as w
} kiln__update;

typedef struct kiln__optim_kernels {
  // Elements begin ..< end; `begin` is a multiple of KILN_QUANT_BLOCK unless all states are plain. Adds to sums.
  void (*update[KILN_RULES])(const kiln__update *u, int64_t begin, int64_t end, double sums[2]);
  // Every row of w, in place: w max(0, 1 - threshold / ||w||).
  void (*shrink_rows)(void *w, int64_t rows, int64_t cols, double threshold);
  // The sums of (scale g)^2: those of each row, and added to those of each column.
  void (*square_sums)(const void *g, int64_t rows, int64_t cols, double scale, void *row_sums, void *column_sums);
} kiln__optim_kernels;

extern const kiln__optim_kernels kiln__optim_ref_f32, kiln__optim_ref_f64;

#endif
