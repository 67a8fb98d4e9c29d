// Launching a kernel: the one way in which arguments get to it.
#ifndef KILN_OPENCL_LAUNCH_H
#define KILN_OPENCL_LAUNCH_H

#include "elementwise/spans.h"
#include "opencl/device.h"

#pragma GCC visibility push(hidden)

// An argument: an address in the device's memory, which a kernel takes as a buffer and a place in it (MEMORY in
// common.cl), or a value as it is.
typedef struct kiln__cl_arg {
  const void *value;
  size_t size;  // 0: `value` is the address
} kiln__cl_arg;

#define CL_AT(address) ((kiln__cl_arg){address, 0})
#define CL_LONG(x) ((kiln__cl_arg){&(int64_t){x}, sizeof(int64_t)})
#define CL_INT(x) ((kiln__cl_arg){&(int32_t){x}, sizeof(int32_t)})
#define CL_FLOAT(x) ((kiln__cl_arg){&(float){x}, sizeof(float)})
#define CL_DOUBLE(x) ((kiln__cl_arg){&(double){x}, sizeof(double)})
#define CL_STRUCT(x) ((kiln__cl_arg){&(x), sizeof(x)})
// The two by which philox_word knows a stream.
#define CL_RANDOM(random) CL_STRUCT((random).key), CL_STRUCT((random).counter)

// Work groups in three dimensions, each of `group` items in the first.
typedef struct kiln__cl_grid {
  int64_t x, y, z;
  int32_t group;
} kiln__cl_grid;

enum { KILN_CL_ITEMS = 64 };

// An item for each of x, in groups of KILN_CL_ITEMS: kernels pass over those beyond.
static inline kiln__cl_grid kiln__cl_each(int64_t x, int64_t y, int64_t z) {
  return (kiln__cl_grid){kiln__ceil_div(x, KILN_CL_ITEMS), y, z, KILN_CL_ITEMS};
}

// Asks for a kernel. In query mode it is only built, so that what cannot be is known before a run. Nothing is done for
// an empty grid.
kiln_status kiln__cl_launch(kiln_context *ctx, kiln__cl_program program, const char *name, kiln__cl_grid grid,
                            const kiln__cl_arg *args, int count);

#define KILN_CL_LAUNCH(ctx, program, name, grid, ...)                          \
  kiln__cl_launch(ctx, program, name, grid, (const kiln__cl_arg[]){__VA_ARGS__}, \
                  (int)(sizeof((const kiln__cl_arg[]){__VA_ARGS__}) / sizeof(kiln__cl_arg)))

// Fails unless there are kernels for tensors of a type, which is F32; the second takes BF16 and F16, too.
kiln_status kiln__cl_takes(kiln_context *ctx, kiln_dtype dtype);
kiln_status kiln__cl_takes_real(kiln_context *ctx, kiln_dtype dtype);

// A kernel with an item for each element of some views, or for so many: it takes their addresses, how they lie, then
// `args`.
kiln_status kiln__cl_map(kiln_context *ctx, kiln__cl_program program, const char *name, const kiln__spans *spans,
                         int64_t elements, const kiln__cl_arg *args, int count);

// A tensor of F32 = 0.
kiln_status kiln__cl_zero(kiln_context *ctx, const kiln_tensor *t);

#pragma GCC visibility pop
#endif
