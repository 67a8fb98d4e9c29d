// The two ways through a matrix product, between gemm.c and the files that go them.
#ifndef KILN_GEMM_INTERNAL_H
#define KILN_GEMM_INTERNAL_H

#include "core/parallel.h"

#pragma GCC visibility push(hidden)

// Both take their scratch, and do nothing more in query mode.

// Straight from a and b: kernels->direct over all of c.
kiln_status kiln__gemm_direct(kiln_context *ctx, const kiln__gemm_kernels *kernels, const kiln__gemm_args *g);

// From packed panels.
kiln_status kiln__gemm_packed(kiln_context *ctx, const kiln__gemm_kernels *kernels, const kiln__gemm_args *g);

#pragma GCC visibility pop
#endif
