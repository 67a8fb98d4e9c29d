// Sums and copies: what the kernels take. Serial; elements of the column's dtype, one after the other.
#ifndef KILN_ELEMENTWISE_KERNELS_H
#define KILN_ELEMENTWISE_KERNELS_H

#include <kiln.h>

enum { KILN_STREAM_ROW = 16384 };  // bytes of a buffer in the first cache on the way past it

typedef struct kiln__elementwise_kernels {
  // y = a + b
  void (*add)(void *y, const void *a, const void *b, int64_t n);
  // out[c] = sum over the rows of x[row * ldx + c], in the order of the rows; with `accumulate` out[c] += it. out is
  // wide (kiln__wide).
  void (*sum_rows)(void *out, const void *x, int64_t rows, int64_t cols, int64_t ldx, bool accumulate);
  // sum of x^2, in fp64
  double (*sum_squares)(const void *x, int64_t n);
  // Copies bytes past the cache, where stores without order are to be had: a fence must follow.
  void (*stream)(void *y, const void *x, int64_t bytes);
} kiln__elementwise_kernels;

extern const kiln__elementwise_kernels kiln__elementwise_ref_f32, kiln__elementwise_ref_f64, kiln__elementwise_ref_bf16,
    kiln__elementwise_ref_f16;

#endif
