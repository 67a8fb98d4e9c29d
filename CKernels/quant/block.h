// How quant's functions read and write tensors of any floating-point type: blocks of fp32.
#ifndef KILN_QUANT_BLOCK_H
#define KILN_QUANT_BLOCK_H

#include "core/parallel.h"
#include "simd/half.h"

// Elements of one chunk of dense work: a multiple of every block.
enum { KILN_QUANT_CHUNK = 16384 };

static inline bool kiln__is_short(kiln_dtype dtype) {
  return dtype == KILN_F16 || dtype == KILN_BF16 || dtype == KILN_F8_E4M3 || dtype == KILN_F8_E5M2;
}
static inline bool kiln__is_floating(kiln_dtype dtype) {
  return dtype == KILN_F32 || dtype == KILN_F64 || kiln__is_short(dtype);
}

// n <= KILN_QUANT_BLOCK elements as fp32: where they lie, or in `buffer`.
static inline const float *kiln__read_block(const kiln__quant_kernels *kernels, float *buffer, const void *x,
                                            kiln_dtype dtype, int64_t n) {
  if (dtype == KILN_F32) return x;
  if (dtype != KILN_F64) kernels->widen(buffer, x, 1, dtype, n);
  else for (int64_t i = 0; i < n; i++) buffer[i] = (float)((const double *)x)[i];
  return buffer;
}

// Where to put n <= KILN_QUANT_BLOCK elements of y as fp32, before kiln__write_block: there, or in `buffer`.
static inline float *kiln__open_block(float *buffer, void *y, kiln_dtype dtype) {
  return dtype == KILN_F32 ? y : buffer;
}
static inline void kiln__write_block(const kiln__quant_kernels *kernels, void *y, const float *values,
                                     kiln_dtype dtype, int64_t n) {
  if (dtype == KILN_F32) return;
  if (dtype != KILN_F64) kernels->narrow(y, values, 1, dtype, NULL, n);
  else for (int64_t i = 0; i < n; i++) ((double *)y)[i] = values[i];
}

#pragma GCC visibility push(hidden)

// A dense tensor of `count` elements of a dtype.
kiln_status kiln__check_count(kiln_context *ctx, const char *name, const kiln_tensor *t, kiln_dtype dtype,
                              int64_t count);

// Reads the options; `random` is where stochastic rounding takes its numbers from.
kiln_status kiln__rounding(kiln_context *ctx, const kiln_rounding_options *options, kiln_rounding *rounding,
                           kiln__random *random);

// Calls body(task, block) for every block of `elements` of them, chunks of blocks side by side.
typedef void kiln__block_body(const void *task, int64_t block);
void kiln__for_blocks(const kiln_context *ctx, int64_t blocks, int64_t elements, kiln__block_body *body,
                      const void *task);

#pragma GCC visibility pop
#endif
