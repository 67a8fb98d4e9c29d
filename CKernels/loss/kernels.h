// Softmax cross-entropy: what the kernels take. `ELEMENT` is the column's dtype, `wide` goes with it (kiln__wide).
#ifndef KILN_LOSS_KERNELS_H
#define KILN_LOSS_KERNELS_H

#include <kiln.h>

// Rows of v logits at logits + row * ldlogits, ELEMENT.
typedef struct kiln__loss_args {
  void *dlogits;           // ELEMENT; may be NULL, may be logits
  const void *logits;
  const int32_t *targets;  // checked: in 0 ..< v, or `ignore`
  void *losses;            // each row's loss, wide; may be NULL
  double *terms;           // each row's loss
  int64_t v, lddlogits, ldlogits;
  float scale;             // of dlogits
  int32_t ignore;
} kiln__loss_args;

// The same for rows whose logits come in panels of columns, from left to right. A panel's logits become e^(z - shift),
// where the shift, about the largest logit seen so far, keeps them in range: neither an exponential nor, in the end,
// the sum of a row, which the target's element holds, is much larger than e^headroom. Then the gradient of row i,
// without the call's scale, is factor[i] / KILN_LOSS_FACTOR times what is left in `exps`: whoever uses it multiplies
// something smaller by the factor.
typedef struct kiln__loss_panel {
  const void *logits;                    // wide: columns first ..< first + cols at logits + row * ldlogits
  void *exps;                            // ELEMENT: all columns at exps + row * ldexps; may be NULL
  void *shift, *sum, *chosen, *factor;   // wide, of each row: the state between panels, and the result
  const int32_t *targets;
  void *losses;
  double *terms;
  int64_t first, cols, ldlogits, ldexps;
  float headroom;                        // how far a logit may lie above the shift
  int32_t ignore;
} kiln__loss_panel;

// y = factor[row] * x, rows of `cols` elements; y, which may be x, is ELEMENT, x is too or is wide.
typedef struct kiln__loss_scaling {
  void *y;
  const void *x, *factor;
  int64_t cols, ldy, ldx;
  bool wide;
} kiln__loss_scaling;

// All take rows begin ..< end.
typedef struct kiln__loss_kernels {
  void (*cross_entropy)(const kiln__loss_args *a, int64_t begin, int64_t end);
  void (*panel)(const kiln__loss_panel *p, int64_t begin, int64_t end);   // one panel
  void (*finish)(const kiln__loss_panel *p, int64_t begin, int64_t end);  // after the last one
  void (*scale)(const kiln__loss_scaling *s, int64_t begin, int64_t end);
} kiln__loss_kernels;

// A row's factor is this over its sum: so x times its factor is neither too large nor too small for f16.
enum { KILN_LOSS_FACTOR = 16 };

// e^20 is far from the largest number of all types but f16.
static inline float kiln__loss_headroom(kiln_dtype dtype) { return dtype == KILN_F16 ? 10 : 20; }

extern const kiln__loss_kernels kiln__loss_ref_f32, kiln__loss_ref_f64, kiln__loss_ref_bf16, kiln__loss_ref_f16;

#endif
