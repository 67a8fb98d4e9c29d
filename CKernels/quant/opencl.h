// Casts and quantisers on an OpenCL device, of F32. Arguments are checked.
#ifndef KILN_QUANT_OPENCL_H
#define KILN_QUANT_OPENCL_H

#include "opencl/launch.h"

#pragma GCC visibility push(hidden)

// y = x * scale, by their types; `scale` is an address, 0 for 1. `random` is NULL to round to the nearest.
kiln_status kiln__cast_opencl(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x, const void *scale,
                              const kiln__random *random);

// As `tiles` of quant.cl has it: of x and q, rows that are so far apart.
typedef struct kiln__cl_tiles {
  int64_t rows, cols, x, q, tile_rows, tile_cols, across;
} kiln__cl_tiles;

// As `gguf` of quant.cl has it.
typedef struct kiln__cl_gguf {
  int64_t across, x, blocks;
  int32_t bytes, format;
} kiln__cl_gguf;

// The map of dynamic 8-bit codes in the device's memory, made when it is first asked for.
kiln_status kiln__map_opencl(kiln_context *ctx, kiln__map_kind kind, const void **out);

// kiln_quantize_dynamic and kiln_dequantize_dynamic, of addresses.
kiln_status kiln__to_dynamic_opencl(kiln_context *ctx, const void *codes, const void *scales, const void *x,
                                    kiln__map_kind kind, int64_t count);
kiln_status kiln__from_dynamic_opencl(kiln_context *ctx, const void *y, const void *codes, const void *scales,
                                      kiln__map_kind kind, int64_t count);

#pragma GCC visibility pop
#endif
