// What the optimizers share: checks of their arguments, and running a rule over all elements on the context's threads.
#ifndef KILN_UPDATE_H
#define KILN_UPDATE_H

#include "opencl/launch.h"

#pragma GCC visibility push(hidden)

typedef struct kiln__job {
  kiln__update u;
  const kiln__optim_kernels *kernels;
  const kiln_tensor *w;
  kiln_dtype dtype;
  int64_t count;
  kiln__random random[2];  // of the states and of w
  double *partial;  // two sums for each span of elements
} kiln__job;

// Checks w, dense and F32 or F64, and fills a job that updates it.
kiln_status kiln__job_of(kiln_context *ctx, kiln__job *job, const kiln_tensor *w);

// As above, with the gradient g of w's dtype and number of elements; or, where a method has `options`, w BF16 beside g
// F32, kept as they say.
kiln_status kiln__job_begin(kiln_context *ctx, kiln__job *job, const kiln_tensor *w, const kiln_tensor *g,
                            double grad_scale, const kiln_state_options *options);

// The ways in which a method keeps a state.
typedef enum kiln__codecs { KILN_PLAIN_ONLY, KILN_PLAIN_OR_BF16, KILN_ANY_CODEC } kiln__codecs;

// Checks state number k of the job, `t`, and its scales, and says in the job how it is kept.
kiln_status kiln__job_state(kiln_context *ctx, kiln__job *job, int k, const char *name, const kiln_tensor *t,
                            const kiln_state_options *options, kiln__codecs codecs, bool is_signed);

// The same for a state that is only kept in w's dtype.
kiln_status kiln__job_plain_state(kiln_context *ctx, kiln__job *job, int k, const char *name, const kiln_tensor *t);

// Takes scratch for sums; before kiln__job_run of a rule that has them.
kiln_status kiln__job_sums(kiln_context *ctx, kiln__job *job);

// As `update` of optim.cl has it.
typedef struct kiln__cl_update {
  float grad_scale, l2, decay, lr, keep[2], take[2];
  float mean_scale, root_scale, eps, weight_decay, blend, pull, l1, low, high;
  int32_t nesterov, first;
} kiln__cl_update;
kiln__cl_update kiln__update_rounded(const kiln__update *u);

// The sums of pairs in a device's memory, which come to the host a run at a time.
kiln_status kiln__update_read_sums(kiln_context *ctx, double sums[2], const double *pairs, int64_t count);

// Runs a rule over all elements. `sums` (may be NULL) gets its two sums, added up in the order of the elements.
kiln_status kiln__job_run(kiln_context *ctx, const kiln__job *job, kiln__rule rule, double sums[2]);

kiln_status kiln__check_finite(kiln_context *ctx, const char *name, double value);
// In [0, 1): the factor of a moving average.
kiln_status kiln__check_factor(kiln_context *ctx, const char *name, double value);
kiln_status kiln__check_not_negative(kiln_context *ctx, const char *name, double value);
// What the methods with two averages share.
kiln_status kiln__check_rates(kiln_context *ctx, double lr, double beta1, double beta2, double weight_decay);
// Positive in fp32 too: what is added to a divisor.
kiln_status kiln__check_eps(kiln_context *ctx, const char *name, double value);
kiln_status kiln__check_step(kiln_context *ctx, int64_t step);

// Both factors of average k: beta and 1 - beta.
void kiln__job_average(kiln__job *job, int k, double beta);

// Element i of an array of F32 or F64: for what is too short to need a kernel.
static inline double kiln__real(const void *p, kiln_dtype dtype, int64_t i) {
  return dtype == KILN_F64 ? ((const double *)p)[i] : ((const float *)p)[i];
}
static inline void kiln__set_real(void *p, kiln_dtype dtype, int64_t i, double x) {
  if (dtype == KILN_F64) ((double *)p)[i] = x;
  else ((float *)p)[i] = (float)x;
}

#pragma GCC visibility pop
#endif
