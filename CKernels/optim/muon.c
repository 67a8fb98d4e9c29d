#include "optim/update.h"

// The quintic that brings singular values near 1 (Jordan et al. 2024): five times X = (a + b A + c A^2) X, A = X X^T.
enum { STEPS = 5 };
static const double QUINTIC_A = 3.4445, QUINTIC_B = -4.7750, QUINTIC_C = 2.0315;

typedef struct orthogonal {
  kiln_dtype dtype;
  int64_t rows, cols;
  kiln_tensor x[2], gram, polynomial;
  double *trace;  // of the Gram matrix, in the device's memory
} orthogonal;

static kiln_status scratch_matrix(kiln_context *ctx, kiln_tensor *t, kiln_dtype dtype, int64_t rows, int64_t cols) {
  void *data;
  KILN_TRY(kiln__scratch(ctx, (size_t)(rows * cols) * kiln_dtype_size(dtype), &data));
  *t = kiln_tensor_dense(data, dtype, 2, (int64_t[]){rows, cols});
  return KILN_OK;
}

static kiln_status orthogonal_begin(kiln_context *ctx, orthogonal *o) {
  int64_t side = kiln__min(o->rows, o->cols);
  for (int i = 0; i < 2; i++) KILN_TRY(scratch_matrix(ctx, &o->x[i], o->dtype, o->rows, o->cols));
  KILN_TRY(scratch_matrix(ctx, &o->gram, o->dtype, side, side));
  if (ctx->cl) KILN_TRY(kiln__scratch(ctx, sizeof *o->trace, (void **)&o->trace));
  return scratch_matrix(ctx, &o->polynomial, o->dtype, side, side);
}

// Every element of the Gram matrix times `factor`.
static kiln_status scale_gram(kiln_context *ctx, const orthogonal *o, double factor) {
  kiln__job job = {.u = {.w = {.values = kiln__data(&o->gram)}, .decay = factor, .low = -INFINITY, .high = INFINITY},
                   .dtype = o->dtype, .kernels = ctx->kernels[o->dtype].optim, .count = kiln__count(&o->gram)};
  return kiln__job_run(ctx, &job, KILN_RULE_DESCENT, NULL);
}

// 1 / (||X|| + 1e-7), from the trace of X X^T.
static kiln_status inverse_norm(kiln_context *ctx, const orthogonal *o, double *out) {
  int64_t side = o->gram.shape[0];
  const void *p = kiln__data(&o->gram);
  double trace = 0;
  if (ctx->cl) {
    KILN_TRY(KILN_CL_LAUNCH(ctx, KILN_CL_OPTIM, "diagonal_sum", ((kiln__cl_grid){1, 1, 1, 1}), CL_AT(o->trace),
                            CL_AT(p), CL_LONG(side)));
    KILN_TRY(kiln__cl_download(ctx, &trace, o->trace, sizeof trace));
  } else {
    for (int64_t i = 0; i < side; i++) trace += kiln__real(p, o->dtype, i * (side + 1));
  }
  *out = 1 / (sqrt(trace) + 1e-7);
  return KILN_OK;
}

static kiln_status add_to_diagonal(kiln_context *ctx, const orthogonal *o, double x) {
  int64_t side = o->polynomial.shape[0];
  void *p = kiln__data(&o->polynomial);
  if (ctx->cl) {
    return KILN_CL_LAUNCH(ctx, KILN_CL_OPTIM, "diagonal_add", kiln__cl_each(side, 1, 1), CL_AT(p), CL_LONG(side),
                          CL_FLOAT((float)x));
  }
  for (int64_t i = 0; i < side; i++) {
    int64_t at = i * (side + 1);
    kiln__set_real(p, o->dtype, at, kiln__real(p, o->dtype, at) + x);
  }
  return KILN_OK;
}

// One step from x to y, from the side on which the Gram matrix is smaller; the first also divides by the norm.
static kiln_status step(kiln_context *ctx, const orthogonal *o, const kiln_tensor *y, const kiln_tensor *x, bool first) {
  bool wide = o->rows <= o->cols;
  kiln_gemm_options product = kiln_gemm_defaults();
  product.transpose_a = !wide;
  product.transpose_b = wide;
  KILN_TRY(kiln__gemm(ctx, &o->gram, x, x, &product));
  double inverse = 1;
  if (!ctx->query) {
    if (first) KILN_TRY(inverse_norm(ctx, o, &inverse));
    KILN_TRY(scale_gram(ctx, o, QUINTIC_B * inverse * inverse));
  }
  product = kiln_gemm_defaults();
  product.alpha = (float)(QUINTIC_C / (QUINTIC_B * QUINTIC_B));
  product.residual = &o->gram;
  KILN_TRY(kiln__gemm(ctx, &o->polynomial, &o->gram, &o->gram, &product));
  if (!ctx->query) KILN_TRY(add_to_diagonal(ctx, o, QUINTIC_A));
  product = kiln_gemm_defaults();
  product.alpha = (float)inverse;
  return wide ? kiln__gemm(ctx, y, &o->polynomial, x, &product) : kiln__gemm(ctx, y, x, &o->polynomial, &product);
}

// In place of u, a matrix with stride 1 in its last dimension.
static kiln_status orthogonalize(kiln_context *ctx, const orthogonal *o, const kiln_tensor *u) {
  for (int i = 0; i < STEPS; i++) {
    const kiln_tensor *from = i == 0 ? u : &o->x[(i + 1) % 2], *to = i == STEPS - 1 ? u : &o->x[i % 2];
    KILN_TRY(step(ctx, o, to, from, i == 0));
  }
  return KILN_OK;
}

static kiln_status check_options(kiln_context *ctx, const kiln_muon_options *o, const kiln_tensor *w) {
  KILN_TRY(kiln__check_finite(ctx, "lr", o->lr));
  KILN_TRY(kiln__check_factor(ctx, "momentum", o->momentum));
  KILN_TRY(kiln__check_finite(ctx, "weight_decay", o->weight_decay));
  KILN_TRY(kiln__check(ctx, "w", w));
  if (w->rank != 2 || kiln__count(w) == 0) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "w is %s, not a matrix", kiln__shape_text(w).s);
  }
  int64_t extent = w->shape[o->split_columns ? 1 : 0];
  if (o->parts >= 1 && extent % o->parts == 0) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_OPTION, "w is %s, whose %s are not a multiple of parts, %u", kiln__shape_text(w).s,
                    o->split_columns ? "columns" : "rows", o->parts);
}

kiln_status kiln_muon(kiln_context *ctx, const kiln_tensor *w, const kiln_tensor *m, const kiln_tensor *g,
                      const kiln_muon_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "muon"));
  kiln_muon_options o = kiln_muon_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  KILN_TRY(check_options(ctx, &o, w));
  kiln__job job;
  KILN_TRY(kiln__job_begin(ctx, &job, w, g, o.grad_scale, &o.states));
  KILN_TRY(kiln__job_state(ctx, &job, 0, "m", m, &o.states, KILN_ANY_CODEC, true));
  kiln_tensor u;
  KILN_TRY(scratch_matrix(ctx, &u, job.dtype, w->shape[0], w->shape[1]));
  int cut = o.split_columns ? 1 : 0;
  kiln_tensor part = u;
  part.shape[cut] /= o.parts;
  orthogonal x = {.dtype = job.dtype, .rows = part.shape[0], .cols = part.shape[1]};
  KILN_TRY(orthogonal_begin(ctx, &x));
  kiln__job_average(&job, 0, o.momentum);
  job.u.nesterov = o.nesterov;
  job.u.out = kiln__data(&u);
  if (!ctx->query) KILN_TRY(kiln__job_run(ctx, &job, KILN_RULE_MUON_DIRECTION, NULL));
  size_t mark = kiln__scratch_mark(ctx);
  for (uint32_t i = 0; i < o.parts; i++) {
    KILN_TRY(orthogonalize(ctx, &x, &part));
    part.offset += part.shape[cut] * part.strides[cut] * (int64_t)kiln_dtype_size(job.dtype);
    kiln__scratch_release(ctx, mark);
  }
  if (ctx->query) return KILN_OK;
  double rows = (double)x.rows, cols = (double)x.cols;
  double scale = o.match_rms ? 0.2 * sqrt(fmax(rows, cols)) : sqrt(fmax(1, rows / cols));
  job.u.g = job.u.out;
  job.u.out = NULL;
  job.u.grad_scale = 1;
  job.u.decay = 1 - o.lr * o.weight_decay;
  job.u.lr = o.lr * scale;
  return kiln__job_run(ctx, &job, KILN_RULE_DESCENT, NULL);
}
