// What every file of the library may use: the context, failures, argument checks and scratch memory.
#ifndef KILN_INTERNAL_H
#define KILN_INTERNAL_H

#include <kiln.h>
#include <float.h>
#include <math.h>
#include <string.h>

#pragma GCC visibility push(hidden)

#include "core/table.h"

enum { KILN_ERROR_LENGTH = 512, KILN_ALIGNMENT = 64 };

typedef struct kiln__workspace {
  char *base;
  size_t size, used, peak;
  bool borrowed;                  // the caller set it: it must not grow
  struct kiln__block *overflow;   // blocks added while `base` was in use; merged into it by the next call
} kiln__workspace;

// OpenBLAS, if it is the provider of products: `int` is BLAS's own for sizes.
typedef void kiln__cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                               const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
typedef struct kiln__openblas {
  kiln__cblas_sgemm *sgemm;   // NULL: Kiln's own kernels
  void (*set_threads)(int);   // may be NULL; the count is one of the whole process
} kiln__openblas;

kiln_status kiln__openblas_load(kiln__openblas *out, char *error, size_t size);

struct kiln_context {
  kiln_device device;
  int32_t threads;
  const char *isa;
  kiln__kernels kernels[KILN_COLUMNS];  // by dtype; empty for types without kernels
  kiln__openblas openblas;
  kiln__workspace workspace;
  struct kiln__cl *cl;            // the OpenCL device; NULL on the host
  bool query;
  const char *op;                 // the public function running, without its prefix
  char error[KILN_ERROR_LENGTH];
};

// Every public function starts with it: refuses a NULL context, forgets the last error and all scratch. Refuses OpenCL
// contexts, too, for functions that have no kernels there.
kiln_status kiln__begin(kiln_context *ctx, const char *op);

// The same for functions that have kernels on every device.
kiln_status kiln__begin_device(kiln_context *ctx, const char *op);

// Where failures without a context are told, KILN_ERROR_LENGTH long.
char *kiln__creation_error(void);

// Notes "<op>: <message>" as the context's last error and returns `status`.
kiln_status kiln__fail(kiln_context *ctx, kiln_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define KILN_TRY(call)                            \
  do {                                            \
    kiln_status status_ = (call);                 \
    if (status_ != KILN_OK) return status_;       \
  } while (0)

// `[4096, 768]`, for messages.
typedef struct kiln__text { char s[96]; } kiln__text;
kiln__text kiln__shape_text(const kiln_tensor *t);

// Copies the caller's options over the defaults in `out`: as many bytes as both sides know.
kiln_status kiln__options(kiln_context *ctx, void *out, size_t size, const void *given);

// Checks one argument: present, known dtype, rank and extents in range, its byte span addressable, data present
// (unless in query mode or empty). `name` is how the header calls it.
kiln_status kiln__check(kiln_context *ctx, const char *name, const kiln_tensor *t);

// As above, and the dtype must be `dtype`.
kiln_status kiln__check_dtype(kiln_context *ctx, const char *name, const kiln_tensor *t, kiln_dtype dtype);

// Fails unless t is dense.
kiln_status kiln__check_dense(kiln_context *ctx, const char *name, const kiln_tensor *t);

static inline bool kiln__is_narrow(kiln_dtype dtype) { return dtype == KILN_BF16 || dtype == KILN_F16; }

// The type that goes with tensors of `dtype`: of vectors of parameters (gains, biases), of all gradients of parameters,
// of statistics, losses and partial sums.
static inline kiln_dtype kiln__wide(kiln_dtype dtype) { return kiln__is_narrow(dtype) ? KILN_F32 : dtype; }

// As above, of a dtype with kernels (F32, F64, BF16, F16), which is stored in `dtype`.
kiln_status kiln__check_real(kiln_context *ctx, const char *name, const kiln_tensor *t, kiln_dtype *dtype);

// As above, F32 or F64 alone.
kiln_status kiln__check_wide(kiln_context *ctx, const char *name, const kiln_tensor *t, kiln_dtype *dtype);

// As kiln__check_dtype, and the shape must be that of `like`.
kiln_status kiln__check_like(kiln_context *ctx, const char *name, const kiln_tensor *t, const char *like_name,
                             const kiln_tensor *like);

// As kiln__check_dtype, rank 1 with `n` elements; NULL is accepted.
kiln_status kiln__check_vector(kiln_context *ctx, const char *name, const kiln_tensor *t, kiln_dtype dtype, int64_t n);

bool kiln__same_shape(const kiln_tensor *a, const kiln_tensor *b);
bool kiln__is_dense(const kiln_tensor *t);
int64_t kiln__count(const kiln_tensor *t);

// A view seen as rows: all dimensions but the last folded into one stride, stride 1 in the last.
typedef struct kiln__rows {
  void *data;
  int64_t rows, cols, stride;
} kiln__rows;

// Folds a checked view into rows, or fails with KILN_ERR_STRIDE. NULL gives data NULL.
kiln_status kiln__fold(kiln_context *ctx, const char *name, const kiln_tensor *t, kiln__rows *out);

// The run first ..< first + count of one dimension of a view.
static inline kiln_tensor kiln__part(const kiln_tensor *t, int dimension, int64_t first, int64_t count) {
  kiln_tensor part = *t;
  part.offset += first * t->strides[dimension] * (int64_t)kiln_dtype_size(t->dtype);
  part.shape[dimension] = count;
  return part;
}

static inline void *kiln__data(const kiln_tensor *t) { return t && t->data ? (char *)t->data + t->offset : NULL; }

// Scratch memory until the public call ends, 64-byte aligned; NULL and KILN_OK in query mode.
kiln_status kiln__scratch(kiln_context *ctx, size_t bytes, void **out);

// For a function that calls another one repeatedly: gives back what was taken since the mark.
size_t kiln__scratch_mark(const kiln_context *ctx);
void kiln__scratch_release(kiln_context *ctx, size_t mark);

// out[c] = sum over the rows of x (or out += it), in the order of the rows: in elementwise/. `dtype` is that of x; out
// is wide.
void kiln__sum_rows(const kiln_context *ctx, kiln_dtype dtype, void *out, const kiln__rows *x, bool accumulate);

// The same on the device of an OpenCL context, of F32.
kiln_status kiln__sum_rows_opencl(kiln_context *ctx, kiln_dtype dtype, void *out, const kiln__rows *x, bool accumulate);

// kiln_gemm inside another function: its scratch is taken on top of the caller's and given back.
kiln_status kiln__gemm(kiln_context *ctx, const kiln_tensor *c, const kiln_tensor *a, const kiln_tensor *b,
                       const kiln_gemm_options *options);

void kiln__workspace_end(kiln_context *ctx);

// Memory of the host, which free() takes: large blocks ask for huge pages. NULL if there is none to be had.
void *kiln__allocate_host(size_t bytes);

// Elements from `at` on of data of that type.
static inline void *kiln__at(const void *data, kiln_dtype dtype, int64_t at) {
  return (char *)data + at * (int64_t)kiln_dtype_size(dtype);
}

static inline int64_t kiln__min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t kiln__max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t kiln__ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t kiln__round_up(int64_t a, int64_t b) { return kiln__ceil_div(a, b) * b; }

#pragma GCC visibility pop
#endif
