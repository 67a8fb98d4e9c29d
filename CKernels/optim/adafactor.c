#include "optim/update.h"

enum { STRIPS = 32 };  // of rows, for the sums down the columns

// What is divided by the root of the second moment v: a vector's whole v, or row by row that of the columns, with the
// row's own share in the scale of the gradient.
typedef struct adafactor {
  kiln__job job;
  const kiln_adafactor_options *options;
  int64_t rows, cols;
  void *row, *column;           // the factors of v
  void *row_sums, *column_sums; // of squares: [rows], [STRIPS, cols]
  double row_mean;
  kiln__rule rule;
  double *partial;
} adafactor;

static void *at(const adafactor *a, const void *p, int64_t i) {
  return (char *)p + i * (int64_t)kiln_dtype_size(a->job.dtype);
}

static void squares_strip(void *arg, int64_t strip, int thread) {
  (void)thread;
  adafactor *a = arg;
  int64_t per_strip = kiln__ceil_div(a->rows, STRIPS), begin = kiln__min(strip * per_strip, a->rows);
  int64_t rows = kiln__min(per_strip, a->rows - begin);
  void *column_sums = at(a, a->column_sums, strip * a->cols);
  memset(column_sums, 0, (size_t)a->cols * kiln_dtype_size(a->job.dtype));
  a->job.kernels->square_sums(at(a, a->job.u.g, begin * a->cols), rows, a->cols, a->job.u.grad_scale,
                              at(a, a->row_sums, begin), column_sums);
}

// factor = keep factor + take (mean of squares + eps); the sum of all.
static double average(const adafactor *a, void *factor, int64_t n, const void *sums, int64_t strips, double over) {
  double total = 0;
  for (int64_t i = 0; i < n; i++) {
    double sum = 0;
    for (int64_t s = 0; s < strips; s++) sum += kiln__real(sums, a->job.dtype, s * n + i);
    double old = kiln__real(factor, a->job.dtype, i);
    double value = a->job.u.keep[1] * old + a->job.u.take[1] * (sum / over + a->options->eps1);
    kiln__set_real(factor, a->job.dtype, i, value);
    total += kiln__real(factor, a->job.dtype, i);
  }
  return total;
}

static kiln_status average_opencl(kiln_context *ctx, const adafactor *a, void *factor, int64_t count, int64_t length,
                                  int64_t across, int64_t along) {
  kiln__cl_update u = kiln__update_rounded(&a->job.u);
  return KILN_CL_LAUNCH(ctx, KILN_CL_OPTIM, "average_squares", kiln__cl_each(count, 1, 1), CL_AT(factor),
                        CL_AT(a->job.u.g), CL_LONG(count), CL_LONG(length), CL_LONG(across), CL_LONG(along),
                        CL_FLOAT((float)a->options->eps1), CL_STRUCT(u));
}

// On an OpenCL device. The row factors come back to the host for their mean.
static kiln_status update_factors_opencl(kiln_context *ctx, adafactor *a) {
  enum { RUN = 1024 };
  KILN_TRY(average_opencl(ctx, a, a->row, a->rows, a->cols, a->cols, 1));
  KILN_TRY(average_opencl(ctx, a, a->column, a->cols, a->rows, 1, a->cols));
  double sum = 0;
  for (int64_t begin = 0; begin < a->rows; begin += RUN) {
    float part[RUN];
    int64_t count = kiln__min(RUN, a->rows - begin);
    KILN_TRY(kiln__cl_download(ctx, part, at(a, a->row, begin), (size_t)count * sizeof *part));
    for (int64_t i = 0; i < count; i++) sum += part[i];
  }
  a->row_mean = sum / (double)a->rows;
  return KILN_OK;
}

static kiln_status run_opencl(kiln_context *ctx, const adafactor *a, double sums[2]) {
  kiln__cl_update u = kiln__update_rounded(&a->job.u);
  const char *name = sums ? "factored_NORMALIZED_SUMS" : "factored_NORMALIZED_APPLY";
  KILN_TRY(KILN_CL_LAUNCH(ctx, KILN_CL_OPTIM, name, kiln__cl_each(a->rows, 1, 1), CL_AT(a->job.u.w.values),
                          CL_AT(a->job.u.g), CL_AT(a->row), CL_AT(a->column), CL_AT(a->partial), CL_LONG(a->rows),
                          CL_LONG(a->cols), CL_DOUBLE(a->row_mean), CL_STRUCT(u)));
  return sums ? kiln__update_read_sums(ctx, sums, a->partial, a->rows) : KILN_OK;
}

static kiln_status update_factors(kiln_context *ctx, adafactor *a) {
  if (ctx->cl) return update_factors_opencl(ctx, a);
  kiln__parallel_for(ctx, STRIPS, squares_strip, a);
  a->row_mean = average(a, a->row, a->rows, a->row_sums, 1, (double)a->cols) / (double)a->rows;
  average(a, a->column, a->cols, a->column_sums, STRIPS, (double)a->rows);
  return KILN_OK;
}

static void rows_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const adafactor *a = arg;
  int64_t per_chunk = kiln__rows_per_chunk(a->cols), begin = chunk * per_chunk;
  double sums[2] = {0, 0};
  for (int64_t r = begin; r < kiln__min(begin + per_chunk, a->rows); r++) {
    kiln__update u = a->job.u;
    u.w.values = at(a, u.w.values, r * a->cols);
    u.g = at(a, u.g, r * a->cols);
    u.grad_scale *= sqrt(a->row_mean / kiln__real(a->row, a->job.dtype, r));
    a->job.kernels->update[a->rule](&u, 0, a->cols, sums);
  }
  if (kiln__traits(a->rule).sums) memcpy(a->partial + 2 * chunk, sums, sizeof sums);
}

// Runs a rule over all elements.
static kiln_status run(kiln_context *ctx, adafactor *a, kiln__rule rule, double sums[2]) {
  if (!a->row) return kiln__job_run(ctx, &a->job, rule, sums);
  if (ctx->cl) return run_opencl(ctx, a, sums);
  a->rule = rule;
  int64_t chunks = kiln__ceil_div(a->rows, kiln__rows_per_chunk(a->cols));
  kiln__parallel_for(ctx, chunks, rows_chunk, a);
  if (!sums) return KILN_OK;
  sums[0] = sums[1] = 0;
  for (int64_t i = 0; i < 2 * chunks; i++) sums[i % 2] += a->partial[i];
  return KILN_OK;
}

static kiln_status check_options(kiln_context *ctx, const kiln_adafactor_options *o) {
  KILN_TRY(kiln__check_step(ctx, o->step));
  KILN_TRY(kiln__check_finite(ctx, "lr", o->lr));
  KILN_TRY(kiln__check_finite(ctx, "weight_decay", o->weight_decay));
  KILN_TRY(kiln__check_not_negative(ctx, "decay_rate", o->decay_rate));
  KILN_TRY(kiln__check_eps(ctx, "eps1", o->eps1));
  KILN_TRY(kiln__check_not_negative(ctx, "eps2", o->eps2));
  return kiln__check_eps(ctx, "clip", o->clip);
}

static kiln_status check_factors(kiln_context *ctx, adafactor *a, const kiln_tensor *w, const kiln_tensor *row,
                                 const kiln_tensor *column) {
  if (w->rank != 2) return kiln__fail(ctx, KILN_ERR_SHAPE, "w is %s, not a matrix", kiln__shape_text(w).s);
  a->rows = w->shape[0];
  a->cols = w->shape[1];
  if (!row) return kiln__fail(ctx, KILN_ERR_NULL, "row is NULL");
  if (!column) return kiln__fail(ctx, KILN_ERR_NULL, "column is NULL");
  KILN_TRY(kiln__check_vector(ctx, "row", row, a->job.dtype, a->rows));
  KILN_TRY(kiln__check_vector(ctx, "column", column, a->job.dtype, a->cols));
  a->row = kiln__data(row);
  a->column = kiln__data(column);
  a->job.u.state[0] = (kiln__state){.codec = KILN_CODEC_PLAIN, .values = a->column};
  size_t item = kiln_dtype_size(a->job.dtype);
  int64_t parts = a->rows;
  if (!ctx->cl) {
    KILN_TRY(kiln__scratch(ctx, (size_t)a->rows * item, &a->row_sums));
    KILN_TRY(kiln__scratch(ctx, (size_t)a->cols * STRIPS * item, &a->column_sums));
    parts = kiln__ceil_div(a->rows, kiln__rows_per_chunk(a->cols));
  }
  return kiln__scratch(ctx, (size_t)parts * 2 * sizeof *a->partial, (void **)&a->partial);
}

static kiln_status update(kiln_context *ctx, adafactor *a) {
  const kiln_adafactor_options *o = a->options;
  if (ctx->query || a->job.count == 0) return KILN_OK;
  kiln__job_average(&a->job, 1, 1 - pow((double)o->step, -o->decay_rate));
  a->job.u.eps = o->eps1;
  if (a->row) KILN_TRY(update_factors(ctx, a));
  else KILN_TRY(run(ctx, a, KILN_RULE_SECOND_MOMENT, NULL));
  double sums[2];
  KILN_TRY(run(ctx, a, KILN_RULE_NORMALIZED_SUMS, sums));
  double rms_w = sqrt(sums[0] / (double)a->job.count), rms_u = sqrt(sums[1] / (double)a->job.count);
  double lr = o->lr * (o->relative_step ? fmin(1e-2, 1 / sqrt((double)o->step)) : 1);
  if (o->scale_parameter) lr *= fmax(o->eps2, rms_w);
  a->job.u.decay = 1 - lr * o->weight_decay;
  a->job.u.lr = lr / fmax(1, rms_u / o->clip);
  return run(ctx, a, KILN_RULE_NORMALIZED_APPLY, NULL);
}

kiln_status kiln_adafactor(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *v, const kiln_tensor *row,
                           const kiln_tensor *column, const kiln_tensor *g, const kiln_adafactor_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "adafactor"));
  kiln_adafactor_options o = kiln_adafactor_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  KILN_TRY(check_options(ctx, &o));
  adafactor a = {.options = &o};
  KILN_TRY(kiln__job_begin(ctx, &a.job, w, g, o.grad_scale, NULL));
  if (v) {
    if (row || column) return kiln__fail(ctx, KILN_ERR_OPTION, "v is given, and so is row or column");
    KILN_TRY(kiln__job_plain_state(ctx, &a.job, 0, "v", v));
    KILN_TRY(kiln__job_sums(ctx, &a.job));
  } else {
    KILN_TRY(check_factors(ctx, &a, w, row, column));
  }
  return update(ctx, &a);
}
