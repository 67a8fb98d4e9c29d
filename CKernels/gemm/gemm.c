// Checks of matrix products and the choice of the way through.
#include "gemm/gemm.h"

#include "gemm/blocks.h"
#include "sparse/sparse.h"

// One operand: [rows, cols], or transposed [cols, rows], or a batch of these.
typedef struct operand {
  kiln__matrix matrix;
  int64_t batches, rows, cols;
} operand;

static bool is_8bit(const kiln_tensor *t) {
  return t && (t->dtype == KILN_I8 || t->dtype == KILN_F8_E4M3 || t->dtype == KILN_F8_E5M2);
}

// The type that c, biases and so on go by: that of the operands, or, where one has 8 bits, of the other, or of c.
static kiln_status check_types(kiln_context *ctx, const kiln_tensor *c, const kiln_tensor *a, const kiln_tensor *b,
                               bool in_blocks, kiln_dtype *dtype) {
  KILN_TRY(kiln__check(ctx, "a", a));
  KILN_TRY(kiln__check(ctx, "b", b));
  if (in_blocks) {
    KILN_TRY(kiln__check_real(ctx, "a", a, dtype));
    if (*dtype != KILN_F64) return KILN_OK;
    return kiln__fail(ctx, KILN_ERR_DTYPE, "b in blocks does not go with f64");
  }
  bool narrow_a = is_8bit(a), narrow_b = is_8bit(b);
  if (!narrow_a) KILN_TRY(kiln__check_real(ctx, "a", a, dtype));
  if (!narrow_a && !narrow_b) return kiln__check_dtype(ctx, "b", b, *dtype);
  if (!narrow_b) KILN_TRY(kiln__check_real(ctx, "b", b, dtype));
  if (narrow_a && narrow_b) KILN_TRY(kiln__check_real(ctx, "c", c, dtype));
  if (*dtype != KILN_F64) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_DTYPE, "operands in 8 bits do not go with f64");
}

static kiln_status view(kiln_context *ctx, const char *name, const kiln_tensor *t, kiln_dtype dtype, bool transposed,
                        operand *out) {
  KILN_TRY(kiln__check_dtype(ctx, name, t, dtype));
  if (t->rank != 2 && t->rank != 3) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "%s is %s, neither a matrix nor a batch of matrices", name,
                      kiln__shape_text(t).s);
  }
  int row = t->rank - 2 + transposed, col = t->rank - 1 - transposed;
  *out = (operand){{kiln__data(t), t->rank == 3 ? t->strides[0] : 0, t->strides[row], t->strides[col]},
                   t->rank == 3 ? t->shape[0] : 1, t->shape[row], t->shape[col]};
  return KILN_OK;
}

// b in blocks: its bytes make rows of whole blocks.
static kiln_status view_blocks(kiln_context *ctx, const kiln_tensor *t, const kiln_gemm_options *o, operand *out,
                               kiln__blocks *blocks) {
  KILN_TRY(kiln__check_dtype(ctx, "b", t, KILN_U8));
  int64_t elements = kiln__block_elements(o->b_blocks), bytes = kiln__block_size(o->b_blocks);
  if (elements == 0) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "b_blocks is %d, not 2 (Q4_0), 3 (Q4_1), 8 (Q8_0) or 256 (NF4)",
                      (int)o->b_blocks);
  }
  if (t->rank != 2 || t->shape[1] % bytes != 0) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "b is %s, not a matrix whose rows are blocks of %lld bytes",
                      kiln__shape_text(t).s, (long long)bytes);
  }
  if (t->shape[1] > 1 && t->strides[1] != 1) {
    return kiln__fail(ctx, KILN_ERR_STRIDE, "b has stride %lld in its last dimension, not 1", (long long)t->strides[1]);
  }
  int64_t rows = t->shape[0], cols = t->shape[1] / bytes * elements;
  *blocks = (kiln__blocks){.format = o->b_blocks, .along_k = o->transpose_b, .data = kiln__data(t),
                           .stride = t->strides[0], .cols = cols};
  *out = (operand){.batches = 1, .rows = o->transpose_b ? cols : rows, .cols = o->transpose_b ? rows : cols};
  if (o->b_blocks != KILN_NF4) return KILN_OK;
  KILN_TRY(kiln__check(ctx, "b_scales", o->b_scales));
  KILN_TRY(kiln__check_vector(ctx, "b_scales", o->b_scales, KILN_F32, rows * cols / elements));
  blocks->absmax = kiln__data(o->b_scales);
  return KILN_OK;
}

// A sparse b: its tensor is that of the values.
static kiln_status view_sparse(kiln_context *ctx, const kiln_tensor *a, const kiln_tensor *b, kiln_dtype dtype,
                               const kiln_gemm_options *o, operand *out, kiln__gemm_args *g) {
  KILN_TRY(kiln__sparse_view(ctx, o->b_sparse, "b", b, dtype, &g->sparse));
  g->is_sparse = true;
  g->sparse_transposed = o->transpose_b;
  int64_t rows = g->sparse.rows, cols = g->sparse.cols;
  *out = (operand){.matrix = {.data = kiln__data(b)}, .batches = 1, .rows = o->transpose_b ? cols : rows,
                   .cols = o->transpose_b ? rows : cols};
  if (a->rank == 2 && !o->transpose_a && (a->strides[1] == 1 || a->shape[1] <= 1)) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_STRIDE, "beside a sparse b, a is to be a matrix with stride 1 along k");
}

static kiln_status check_rows_apart(kiln_context *ctx, const char *name, const kiln_tensor *t) {
  int64_t n = t->shape[t->rank - 1];
  for (int i = 0; i < t->rank - 1; i++) {
    if (t->shape[i] > 1 && t->strides[i] < n) {
      return kiln__fail(ctx, KILN_ERR_STRIDE, "the rows of %s overlap: they have %lld elements and the stride %lld",
                        name, (long long)n, (long long)t->strides[i]);
    }
  }
  return KILN_OK;
}

// One of c's shape, with stride 1 along n.
static kiln_status view_like_c(kiln_context *ctx, const char *name, const kiln_tensor *t, const kiln_tensor *c,
                               kiln__matrix *out) {
  if (!t) return KILN_OK;
  operand x;
  KILN_TRY(view(ctx, name, t, c->dtype, false, &x));
  KILN_TRY(kiln__check_like(ctx, name, t, "c", c));
  if (x.cols > 1 && x.matrix.col != 1) {
    return kiln__fail(ctx, KILN_ERR_STRIDE, "%s has stride %lld in its last dimension, not 1", name,
                      (long long)x.matrix.col);
  }
  x.matrix.col = 1;
  *out = x.matrix;
  return KILN_OK;
}

static kiln_status check_shapes(kiln_context *ctx, const kiln_tensor *c, const kiln_tensor *a, const kiln_tensor *b,
                                const kiln_gemm_options *o, const operand *x, const operand *y) {
  bool meets = x->cols == y->rows;
  bool fits = meets && a->rank == c->rank && b->rank == c->rank && c->shape[c->rank - 2] == x->rows &&
              c->shape[c->rank - 1] == y->cols;
  if (fits && c->rank == 3) fits = c->shape[0] == x->batches && c->shape[0] == y->batches;
  if (fits) return KILN_OK;
  const char *a_note = o->transpose_a ? " transposed" : "", *b_note = o->transpose_b ? " transposed" : "";
  kiln__text as = kiln__shape_text(a), bs = kiln__shape_text(b), cs = kiln__shape_text(c);
  if (!meets) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "inner dimensions differ: a is %s%s, b is %s%s", as.s, a_note, bs.s, b_note);
  }
  return kiln__fail(ctx, KILN_ERR_SHAPE, "c is %s, which does not fit a, %s%s, times b, %s%s", cs.s, as.s, a_note, bs.s,
                    b_note);
}

static kiln_status check_bias_gradient(kiln_context *ctx, const kiln_gemm_options *o, kiln_dtype dtype,
                                       const operand *c) {
  int64_t count = o->bias_gradient_of_b ? c->cols : c->rows;
  KILN_TRY(kiln__check_vector(ctx, "bias_gradient", o->bias_gradient, dtype, count));
  if (c->batches == 1 && c->rows > 0 && c->cols > 0) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_SHAPE, "bias_gradient is for one matrix with elements, c has %lld of %lld x %lld",
                    (long long)c->batches, (long long)c->rows, (long long)c->cols);
}

// The scales of an operand's codes: one for each of `n` rows or columns, or one for all.
static kiln_status check_scales(kiln_context *ctx, const char *name, const kiln_tensor *scales, const kiln_tensor *t,
                                int64_t n) {
  if (!scales) return KILN_OK;
  KILN_TRY(kiln__check_dtype(ctx, name, scales, KILN_F32));
  if (!is_8bit(t)) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "%s is for an operand in 8 bits, which is %s", name,
                      kiln_dtype_name(t->dtype));
  }
  int64_t count = kiln__count(scales);
  if (count == 1 || count == n) return kiln__check_dense(ctx, name, scales);
  return kiln__fail(ctx, KILN_ERR_SHAPE, "%s is %s, not of 1 or %lld elements", name, kiln__shape_text(scales).s,
                    (long long)n);
}

// What the epilogue multiplies by: NULL for a scale for all, which is in alpha then.
static const float *scales_of(const kiln_tensor *scales, float *alpha) {
  const float *values = kiln__data(scales);
  if (!values || kiln__count(scales) > 1) return values;
  *alpha *= *values;
  return NULL;
}

// A dimension of extent 1 may have any stride: give it the one that suits the kernels.
static void settle_strides(kiln__gemm_args *g) {
  if (g->m == 1) g->a.row = 0;
  if (g->n == 1) g->b.col = 0;
  if (g->k == 1) g->a.col = g->b.row = 1;
}

// Products of bf16 and f16 may be kept in fp32.
static kiln_dtype dtype_of_c(const kiln_tensor *c, kiln_dtype dtype) {
  return c && c->dtype == KILN_F32 ? kiln__wide(dtype) : dtype;
}

static kiln_status arguments(kiln_context *ctx, const kiln_tensor *c, const kiln_tensor *a, const kiln_tensor *b,
                             const kiln_gemm_options *o, kiln_dtype *dtype, kiln__gemm_args *g) {
  operand x, y, z;
  bool in_blocks = o->b_blocks != 0;
  if (o->b_sparse && (in_blocks || o->bias_gradient || o->a_scales || o->b_scales)) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "a sparse b goes with neither blocks, scales nor bias_gradient");
  }
  KILN_TRY(check_types(ctx, c, a, b, in_blocks, dtype));
  KILN_TRY(view(ctx, "c", c, dtype_of_c(c, *dtype), false, &z));
  KILN_TRY(view(ctx, "a", a, a->dtype, o->transpose_a, &x));
  if (in_blocks) KILN_TRY(view_blocks(ctx, b, o, &y, &g->blocks));
  else if (o->b_sparse) KILN_TRY(view_sparse(ctx, a, b, *dtype, o, &y, g));
  else KILN_TRY(view(ctx, "b", b, b->dtype, o->transpose_b, &y));
  KILN_TRY(check_shapes(ctx, c, a, b, o, &x, &y));
  if ((unsigned)o->activation > KILN_ACT_SILU) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "unknown activation %d", o->activation);
  }
  kiln__gemm_finish *f = &g->finish;
  KILN_TRY(view_like_c(ctx, "c", c, c, &f->c));
  KILN_TRY(check_rows_apart(ctx, "c", c));
  KILN_TRY(kiln__check_vector(ctx, "bias", o->bias, kiln__wide(*dtype), z.cols));
  KILN_TRY(view_like_c(ctx, "residual", o->residual, c, &f->residual));
  KILN_TRY(view_like_c(ctx, "preactivation", o->preactivation, c, &f->preactivation));
  if (o->preactivation) KILN_TRY(check_rows_apart(ctx, "preactivation", o->preactivation));
  KILN_TRY(view_like_c(ctx, "gradient_at", o->gradient_at, c, &f->gradient_at));
  if (o->bias_gradient) KILN_TRY(check_bias_gradient(ctx, o, kiln__wide(*dtype), &z));
  if (o->bias_gradient && (is_8bit(a) || is_8bit(b) || in_blocks)) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "bias_gradient is not for operands in 8 bits or blocks");
  }
  KILN_TRY(check_scales(ctx, "a_scales", o->a_scales, a, z.rows));
  bool scales_blocks = o->b_blocks == KILN_NF4;
  if (!scales_blocks) KILN_TRY(check_scales(ctx, "b_scales", o->b_scales, b, z.cols));
  f->bias = kiln__data(o->bias);
  g->bias_gradient = kiln__data(o->bias_gradient);
  g->bias_gradient_of_b = o->bias_gradient_of_b;
  f->alpha = o->alpha;
  f->row_scale = scales_of(o->a_scales, &f->alpha);
  if (!scales_blocks) f->col_scale = scales_of(o->b_scales, &f->alpha);
  f->activation = o->activation;
  f->accumulate = o->accumulate;
  f->plain = !o->bias && !o->residual && !o->preactivation && !o->gradient_at && !o->activation;
  f->dtype = c->dtype;
  g->a = x.matrix;
  g->b = y.matrix;
  g->a_dtype = a->dtype;
  g->b_dtype = in_blocks ? KILN_F32 : b->dtype;
  g->batches = z.batches;
  g->m = z.rows;
  g->n = z.cols;
  g->k = x.cols;
  settle_strides(g);
  return KILN_OK;
}

kiln_status kiln__gemm(kiln_context *ctx, const kiln_tensor *c, const kiln_tensor *a, const kiln_tensor *b,
                       const kiln_gemm_options *options) {
  kiln_gemm_options o = kiln_gemm_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  kiln_dtype dtype;
  kiln__gemm_args g = {0};
  KILN_TRY(arguments(ctx, c, a, b, &o, &dtype, &g));
  if (g.batches == 0 || g.m == 0 || g.n == 0) return KILN_OK;
  const kiln__kernels *of_a = &ctx->kernels[g.a_dtype], *of_b = &ctx->kernels[g.b_dtype];
  bool mixed = g.a_dtype != g.b_dtype, plain = !mixed && g.blocks.format == 0 && !g.is_sparse;
  bool by_lists = g.is_sparse && !of_a->sparse->plain;
  const kiln__gemm_kernels *kernels = mixed ? of_a->gemm_mixed : of_a->gemm;
  bool by_openblas = ctx->openblas.sgemm && plain && g.a_dtype == KILN_F32 && kiln__openblas_takes(&g);
  bool prefers_direct = plain && !o.bias_gradient && kernels->prefers_direct && kernels->prefers_direct(&g);
  if (ctx->cl && (!plain || kiln__wide(g.a_dtype) != KILN_F32)) {
    return kiln__fail(ctx, KILN_ERR_DTYPE, "OpenCL has products of dense f32, bf16 and f16 alone, so far");
  }
  size_t mark = kiln__scratch_mark(ctx);
  kiln_status status = ctx->cl       ? kiln__gemm_opencl(ctx, &g)
                       : by_lists    ? kiln__gemm_sparse(ctx, &g)
                       : by_openblas ? kiln__gemm_openblas(ctx, &g)
                       : prefers_direct || !kernels->packed
                           ? kiln__gemm_direct(ctx, kernels, &g)
                           : kiln__gemm_packed(ctx, kernels, mixed ? of_b->gemm_mixed : of_b->gemm, &g);
  kiln__scratch_release(ctx, mark);
  return status;
}

kiln_status kiln_gemm(kiln_context *ctx, const kiln_tensor *c, const kiln_tensor *a, const kiln_tensor *b,
                      const kiln_gemm_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "gemm"));
  return kiln__gemm(ctx, c, a, b, options);
}
