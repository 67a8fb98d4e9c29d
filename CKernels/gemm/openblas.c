// OpenBLAS as the provider of fp32 products: loaded when a context asks for it, never linked.
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>

#include "gemm/gemm.h"

enum { BLOCK = 1 << 20 };  // elements of c between the product and the rest of its epilogue

static const char library[] = "libopenblas.so.0";

kiln_status kiln__openblas_load(kiln__openblas *out, char *error, size_t size) {
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  out->sgemm = handle ? (kiln__cblas_sgemm *)dlsym(handle, "cblas_sgemm") : NULL;
  if (!out->sgemm) {
    snprintf(error, size, "context_create: OpenBLAS cannot be loaded (%s): install libopenblas0-pthread, or take "
             "Kiln's own products (KILN_GEMM=kiln)", dlerror());
    return KILN_ERR_LIBRARY;
  }
  out->set_threads = (void (*)(int))dlsym(handle, "openblas_set_num_threads");
  return KILN_OK;
}

// A matrix as BLAS knows it: stride 1 in one direction, `ld` in the other.
typedef struct blas_matrix {
  const float *data;
  int transposed, ld;
} blas_matrix;

static bool blas_view(const kiln__matrix *x, int64_t rows, int64_t cols, blas_matrix *out) {
  bool by_rows = x->col == 1 || cols == 1, by_cols = x->row == 1 || rows == 1;
  int64_t extent = by_rows ? cols : rows, ld = kiln__max(by_rows ? x->row : x->col, extent);
  bool lies_so = by_rows ? x->row >= extent || rows == 1 : x->col >= extent || cols == 1;
  enum { AS_IT_IS = 111, TRANSPOSED = 112 };
  *out = (blas_matrix){x->data, by_rows ? AS_IT_IS : TRANSPOSED, (int)ld};
  return (by_rows || by_cols) && lies_so && ld <= INT_MAX;
}

// What bias_gradient sums, as rows of memory.
static kiln__rows summed(const kiln__gemm_args *g) {
  return g->bias_gradient_of_b ? (kiln__rows){g->b.data, g->k, g->n, g->b.row}
                               : (kiln__rows){g->a.data, g->k, g->m, g->a.col};
}

static bool takes_bias_gradient(const kiln__gemm_args *g) {
  return !g->bias_gradient || (g->finish.alpha == 1 && (g->bias_gradient_of_b ? g->b.col : g->a.row) == 1);
}

bool kiln__openblas_takes(const kiln__gemm_args *g) {
  blas_matrix a, b;
  bool fits = g->m <= INT_MAX && g->n <= INT_MAX && g->k <= INT_MAX && g->k > 0 && g->finish.c.row <= INT_MAX;
  return fits && takes_bias_gradient(g) && blas_view(&g->a, g->m, g->k, &a) && blas_view(&g->b, g->k, g->n, &b);
}

static float *at(const kiln__matrix *x, int64_t batch, int64_t row) {
  return x->data ? (float *)x->data + batch * x->batch + row * x->row : NULL;
}

// to [rows, n] = beta * to + alpha * rows of the batch's product, from row i on
static void product(const kiln__openblas *blas, const kiln__gemm_args *g, int64_t batch, int64_t i, int64_t rows,
                    float *to, int64_t ld, float alpha, float beta) {
  enum { ROW_MAJOR = 101 };
  blas_matrix a, b;
  blas_view(&g->a, g->m, g->k, &a);
  blas_view(&g->b, g->k, g->n, &b);
  blas->sgemm(ROW_MAJOR, a.transposed, b.transposed, (int)rows, (int)g->n, (int)g->k, alpha, at(&g->a, batch, i), a.ld,
              at(&g->b, batch, 0), b.ld, beta, to, (int)kiln__max(ld, g->n));
}

static kiln__matrix shifted(const kiln__matrix *x, int64_t batch, int64_t row) {
  kiln__matrix y = *x;
  y.data = at(x, batch, row);
  return y;
}

kiln_status kiln__gemm_openblas(kiln_context *ctx, const kiln__gemm_args *g) {
  const kiln__gemm_finish *f = &g->finish;
  int64_t block = kiln__min(g->m, kiln__max(BLOCK / g->n, 64));
  float *sums;
  KILN_TRY(kiln__scratch(ctx, (size_t)(block * g->n) * sizeof(float), (void **)&sums));
  if (ctx->query) return KILN_OK;
  if (ctx->openblas.set_threads) ctx->openblas.set_threads(ctx->threads);
  kiln__rows rows = summed(g);
  if (g->bias_gradient) kiln__sum_rows(ctx, KILN_F32, g->bias_gradient, &rows, f->accumulate);
  bool plain = !f->bias && !f->preactivation.data && !f->activation && !f->residual.data;
  for (int64_t batch = 0; batch < g->batches; batch++) {
    if (plain) {
      product(&ctx->openblas, g, batch, 0, g->m, at(&f->c, batch, 0), f->c.row, f->alpha, f->accumulate);
      continue;
    }
    for (int64_t i = 0; i < g->m; i += block) {
      int64_t rows = kiln__min(block, g->m - i);
      product(&ctx->openblas, g, batch, i, rows, sums, g->n, 1, 0);
      kiln__gemm_finish rest = *f;
      rest.c = shifted(&f->c, batch, i);
      rest.preactivation = shifted(&f->preactivation, batch, i);
      rest.gradient_at = shifted(&f->gradient_at, batch, i);
      rest.residual = shifted(&f->residual, batch, i);
      kiln__gemm_finish_sums(ctx, &rest, sums, 1, rows, g->n);
    }
  }
  return KILN_OK;
}
