// The ways through a matrix product, between gemm.c and the files that go them.
#ifndef KILN_GEMM_INTERNAL_H
#define KILN_GEMM_INTERNAL_H

#include "core/parallel.h"

#pragma GCC visibility push(hidden)

// Each takes its scratch, and does nothing more in query mode.

// Straight from a and b: kernels->direct over all of c.
kiln_status kiln__gemm_direct(kiln_context *ctx, const kiln__gemm_kernels *kernels, const kiln__gemm_args *g);

// From packed panels: a is packed by the kernels of one column, b by those of another with the same tile.
kiln_status kiln__gemm_packed(kiln_context *ctx, const kiln__gemm_kernels *of_a, const kiln__gemm_kernels *of_b,
                              const kiln__gemm_args *g);

// By the context's OpenBLAS, of fp32, if it takes these strides and sizes.
bool kiln__openblas_takes(const kiln__gemm_args *g);
kiln_status kiln__gemm_openblas(kiln_context *ctx, const kiln__gemm_args *g);

// On the device of an OpenCL context, of F32.
kiln_status kiln__gemm_opencl(kiln_context *ctx, const kiln__gemm_args *g);

// The end of a product: c [m, n] of f from the sum over `parts` of sums [parts, m, n], in fp32.
void kiln__gemm_finish_sums(const kiln_context *ctx, const kiln__gemm_finish *f, float *sums, int64_t parts, int64_t m,
                            int64_t n);

#pragma GCC visibility pop
#endif
