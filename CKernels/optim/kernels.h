// Optimizer updates: what the kernels take. All arrays are of the column's dtype, fp32 or fp64; scalars stay in fp64
// until the kernels round them to it, since 1 - beta in fp32 would carry an error of 6e-5.
#ifndef KILN_OPTIM_KERNELS_H
#define KILN_OPTIM_KERNELS_H

#include <kiln.h>

typedef struct kiln__sgd_args {
  void *w, *m;  // m may be NULL
  const void *g;
  double grad_scale, weight_decay, momentum, lr;
  bool nesterov;
} kiln__sgd_args;

typedef struct kiln__adam_args {
  void *w, *m, *v;
  const void *g;
  double grad_scale;
  double coupled_decay;      // times w is added to g
  double decay;              // multiplies w
  double keep_m, take_g;     // beta1, 1 - beta1
  double keep_v, take_g2;    // beta2, 1 - beta2
  double root_scale;         // 1 / sqrt(1 - beta2^step)
  double eps;
  double step_size;          // lr / (1 - beta1^step)
} kiln__adam_args;

typedef struct kiln__optim_kernels {
  // Elements begin ..< end.
  void (*sgd)(const kiln__sgd_args *a, int64_t begin, int64_t end);
  void (*adam)(const kiln__adam_args *a, int64_t begin, int64_t end);
} kiln__optim_kernels;

extern const kiln__optim_kernels kiln__optim_ref_f32, kiln__optim_ref_f64;

#endif
