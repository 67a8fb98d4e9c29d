// Attention on the device of an OpenCL context, checked, of a type that it takes.
#ifndef KILN_ATTENTION_OPENCL_H
#define KILN_ATTENTION_OPENCL_H

#include "core/internal.h"

#pragma GCC visibility push(hidden)

kiln_status kiln__attention_fwd_opencl(kiln_context *ctx, kiln_dtype dtype, const kiln__attention_args *a, int64_t b,
                                       int64_t heads, int64_t key_heads);
kiln_status kiln__attention_bwd_opencl(kiln_context *ctx, kiln_dtype dtype, const kiln__attention_args *a, int64_t b,
                                       int64_t heads, int64_t key_heads);

#pragma GCC visibility pop
#endif
