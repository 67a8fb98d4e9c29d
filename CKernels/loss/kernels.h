// Softmax cross-entropy: what the kernels take.
#ifndef KILN_LOSS_KERNELS_H
#define KILN_LOSS_KERNELS_H

#include <kiln.h>

// Rows of v logits at logits + row * ldlogits, of the column's dtype.
typedef struct kiln__loss_args {
  void *dlogits;           // may be NULL, may be logits
  const void *logits;
  const int32_t *targets;  // checked: in 0 ..< v, or `ignore`
  void *losses;            // each row's loss, of the column's dtype; may be NULL
  double *terms;           // each row's loss
  int64_t v, lddlogits, ldlogits;
  float scale;             // of dlogits
  int32_t ignore;
} kiln__loss_args;

typedef struct kiln__loss_kernels {
  // Rows begin ..< end.
  void (*cross_entropy)(const kiln__loss_args *a, int64_t begin, int64_t end);
} kiln__loss_kernels;

extern const kiln__loss_kernels kiln__loss_ref_f32, kiln__loss_ref_f64;

#endif
