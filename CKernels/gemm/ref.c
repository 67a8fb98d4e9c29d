// The plain loops, for sums in fp32 and in fp64.
#ifndef REAL
#include "core/internal.h"
#include "gemm/blocks.h"
#include "simd/half.h"
#include "sparse/sparse.h"

#define REAL float
#define REF(name) name##_f32
#include "gemm/ref.c"
#undef REAL
#undef REF

#define REAL double
#define REF(name) name##_f64
#include "gemm/ref.c"
#else

static REAL REF(get)(kiln_dtype dtype, const void *x, int64_t at) {
  switch (dtype) {
    case KILN_F64: return (REAL)((const double *)x)[at];
    case KILN_BF16: return kiln__get_bf16(((const kiln__bf16 *)x)[at]);
    case KILN_F16: return kiln__get_f16(((const kiln__f16 *)x)[at]);
    case KILN_I8: return ((const int8_t *)x)[at];
    case KILN_F8_E4M3: return kiln__get_e4m3(((const kiln__e4m3 *)x)[at]);
    case KILN_F8_E5M2: return kiln__get_e5m2(((const kiln__e5m2 *)x)[at]);
    default: return ((const float *)x)[at];
  }
}

static void REF(put)(kiln_dtype dtype, void *x, int64_t at, REAL v) {
  switch (dtype) {
    case KILN_F64: ((double *)x)[at] = v; break;
    case KILN_BF16: ((kiln__bf16 *)x)[at] = kiln__put_bf16((float)v); break;
    case KILN_F16: ((kiln__f16 *)x)[at] = kiln__put_f16((float)v); break;
    default: ((float *)x)[at] = (float)v;
  }
}

static int64_t REF(at)(const kiln__matrix *x, int64_t batch, int64_t i, int64_t j) {
  return batch * x->batch + i * x->row + j * x->col;
}

// Elements begin ..< end of bias_gradient: x's across * i, summed along k.
static void REF(sum)(const kiln__gemm_args *g, kiln_dtype dtype, const void *x, int64_t across, int64_t along,
                     int64_t begin, int64_t end) {
  REAL *sums = g->bias_gradient;
  for (int64_t i = begin; i < end; i++) {
    REAL sum = 0;
    for (int64_t k = 0; k < g->k; k++) sum += REF(get)(dtype, x, i * across + k * along);
    sums[i] = g->finish.alpha * sum + (g->finish.accumulate ? sums[i] : 0);
  }
}

static void REF(bias_gradient)(const kiln__gemm_args *g, const kiln__gemm_part *p) {
  const kiln__matrix *a = &g->a, *b = &g->b;
  if (!g->bias_gradient) return;
  if (g->bias_gradient_of_b && p->i == 0) REF(sum)(g, g->b_dtype, b->data, b->col, b->row, p->j, p->j + p->cols);
  if (!g->bias_gradient_of_b && p->j == 0) REF(sum)(g, g->a_dtype, a->data, a->row, a->col, p->i, p->i + p->rows);
}

static REAL REF(int8_product)(const kiln__gemm_args *g, int64_t a, int64_t b) {
  const int8_t *x = (const int8_t *)g->a.data + a, *y = (const int8_t *)g->b.data + b;
  int64_t sum = 0;
  for (int64_t k = 0; k < g->k; k++) sum += x[k * g->a.col] * y[k * g->b.row];
  return (REAL)sum;
}

// b's element at step k of column j.
static REAL REF(from_blocks)(const kiln__blocks *b, int64_t k, int64_t j) {
  float values[KILN_NF4_BLOCK];
  int64_t row = b->along_k ? j : k, col = b->along_k ? k : j, elements = kiln__block_elements(b->format);
  kiln__unpack_blocks(&kiln__quant_ref_f32, b, values, row, col / elements * elements, elements);
  return values[col % elements];
}

// The product of row i of a and column j of a sparse b.
static REAL REF(sparse_product)(const kiln__gemm_args *g, int64_t a, int64_t j) {
  const kiln__sparse *w = &g->sparse;
  int64_t area = w->block_rows * w->block_cols;
  int64_t first = g->sparse_transposed ? j / w->block_rows : 0;
  int64_t last = g->sparse_transposed ? first + 1 : w->row_blocks;
  REAL sum = 0;
  for (int64_t r = first; r < last; r++) {
    for (int64_t e = kiln__sparse_begin(w, r); e < kiln__sparse_begin(w, r + 1); e++) {
      for (int64_t i = 0; i < area; i++) {
        int64_t row, col;
        bool inside = kiln__sparse_element(w, r, e, i, &row, &col);
        if (!inside || j != (g->sparse_transposed ? row : col)) continue;
        int64_t k = g->sparse_transposed ? col : row;
        sum += REF(get)(g->a_dtype, g->a.data, a + k * g->a.col) * REF(get)(g->b_dtype, g->b.data, e * area + i);
      }
    }
  }
  return sum;
}

static REAL REF(product)(const kiln__gemm_args *g, int64_t batch, int64_t i, int64_t j) {
  int64_t a = REF(at)(&g->a, batch, i, 0), b = REF(at)(&g->b, batch, 0, j);
  if (g->is_sparse) return REF(sparse_product)(g, a, j);
  if (g->a_dtype == KILN_I8 && g->b_dtype == KILN_I8) return REF(int8_product)(g, a, b);
  REAL sum = 0;
  for (int64_t k = 0; k < g->k; k++) {
    REAL y = g->blocks.format ? REF(from_blocks)(&g->blocks, k, j) : REF(get)(g->b_dtype, g->b.data, b + k * g->b.row);
    sum += REF(get)(g->a_dtype, g->a.data, a + k * g->a.col) * y;
  }
  return sum;
}

static void REF(direct)(const kiln__gemm_args *g, const kiln__gemm_part *p) {
  const kiln__gemm_finish *f = &g->finish;
  const REAL *bias = f->bias;
  REF(bias_gradient)(g, p);
  for (int64_t i = p->i; i < p->i + p->rows; i++) {
    for (int64_t j = p->j; j < p->j + p->cols; j++) {
      REAL v = f->alpha * REF(product)(g, p->batch, i, j);
      if (f->row_scale) v *= f->row_scale[i];
      if (f->col_scale) v *= f->col_scale[j];
      if (bias) v += bias[j];
      int64_t c = REF(at)(&f->c, p->batch, i, j), at = REF(at)(&f->gradient_at, p->batch, i, j);
      if (f->preactivation.data) {
        REF(put)(f->dtype, f->preactivation.data, REF(at)(&f->preactivation, p->batch, i, j), v);
      }
      if (f->gradient_at.data) v *= REF(kiln__act_slope)(f->activation, REF(get)(f->dtype, f->gradient_at.data, at));
      else v = REF(kiln__act_value)(f->activation, v);
      if (f->residual.data) v += REF(get)(f->dtype, f->residual.data, REF(at)(&f->residual, p->batch, i, j));
      if (f->accumulate) v += REF(get)(f->dtype, f->c.data, c);
      REF(put)(f->dtype, f->c.data, c, v);
    }
  }
}

const kiln__gemm_kernels REF(kiln__gemm_ref) = {.direct = REF(direct)};
#endif
