#include "opencl/launch.h"

enum { MOST_ARGS = 32, MAP_VIEWS = 6 };

// As `layout` of common.cl has it.
typedef struct layout {
  int64_t count, rank;
  int64_t shape[KILN_MAX_RANK + 1], strides[MAP_VIEWS][KILN_MAX_RANK + 1];
} layout;

// Sets an argument, or the two of an address. An address beyond the device's memory is one of the host.
static kiln_status set(kiln_context *ctx, cl_kernel kernel, const char *name, cl_uint *at, const kiln__cl_arg *arg) {
  const kiln__cl *cl = ctx->cl;
  cl_int code;
  if (arg->size > 0) {
    code = cl->api->clSetKernelArg(kernel, (*at)++, arg->size, arg->value);
  } else {
    const kiln__cl_buffer *b = arg->value ? kiln__cl_find(cl, arg->value) : NULL;
    if (arg->value && !b) {
      return kiln__fail(ctx, KILN_ERR_DEVICE, "argument %u of %s is not in the device's memory", *at, name);
    }
    cl_mem memory = b ? b->memory : NULL;
    cl_ulong offset = b ? (cl_ulong)((const char *)arg->value - b->base) : 0;
    code = cl->api->clSetKernelArg(kernel, (*at)++, sizeof memory, b ? &memory : NULL);
    if (code == CL_SUCCESS) code = cl->api->clSetKernelArg(kernel, (*at)++, sizeof offset, &offset);
  }
  return code == CL_SUCCESS ? KILN_OK : kiln__cl_fail(ctx, name, code);
}

kiln_status kiln__cl_launch(kiln_context *ctx, kiln__cl_program program, const char *name, kiln__cl_grid grid,
                            const kiln__cl_arg *args, int count) {
  cl_kernel kernel;
  KILN_TRY(kiln__cl_kernel(ctx, program, name, &kernel));
  if (ctx->query || grid.x == 0 || grid.y == 0 || grid.z == 0) return KILN_OK;
  cl_uint at = 0;
  for (int i = 0; i < count; i++) KILN_TRY(set(ctx, kernel, name, &at, &args[i]));
  size_t group[3] = {(size_t)grid.group, 1, 1};
  size_t global[3] = {(size_t)grid.x * group[0], (size_t)grid.y, (size_t)grid.z};
  const kiln__cl *cl = ctx->cl;
  cl_event event = NULL;
  cl_int code = cl->api->clEnqueueNDRangeKernel(cl->queue, kernel, 3, NULL, global, group, 0, NULL,
                                                cl->is_profiled ? &event : NULL);
  if (code != CL_SUCCESS) return kiln__cl_fail(ctx, name, code);
  return event ? kiln__cl_note(ctx, kernel, event) : KILN_OK;
}

kiln_status kiln__cl_takes(kiln_context *ctx, kiln_dtype dtype) {
  if (dtype == KILN_F32) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_DTYPE, "OpenCL has a kernel for f32 alone, so far, not for %s",
                    kiln_dtype_name(dtype));
}

kiln_status kiln__cl_takes_real(kiln_context *ctx, kiln_dtype dtype) {
  if (dtype == KILN_F32 || kiln__is_narrow(dtype)) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_DTYPE, "OpenCL has kernels for f32, bf16 and f16, not for %s",
                    kiln_dtype_name(dtype));
}

kiln_status kiln__cl_map(kiln_context *ctx, kiln__cl_program program, const char *name, const kiln__spans *spans,
                         int64_t elements, const kiln__cl_arg *args, int count) {
  layout l = {.count = 1, .rank = spans->rank};
  for (int d = 0; d < spans->rank; d++) {
    l.shape[d] = spans->shape[d];
    l.count *= spans->shape[d];
    for (int v = 0; v < spans->views; v++) l.strides[v][d] = spans->strides[v][d];
  }
  kiln__cl_arg all[MOST_ARGS];
  int n = 0;
  for (int v = 0; v < spans->views; v++) all[n++] = CL_AT(spans->data[v]);
  all[n++] = CL_STRUCT(l);
  for (int i = 0; i < count; i++) all[n++] = args[i];
  return kiln__cl_launch(ctx, program, name, kiln__cl_each(kiln__ceil_div(l.count, elements), 1, 1), all, n);
}

kiln_status kiln__cl_zero(kiln_context *ctx, const kiln_tensor *t) {
  kiln__spans spans = kiln__spans_strided((const kiln_tensor *[]){t}, 1);
  return kiln__cl_map(ctx, KILN_CL_ELEMENTWISE, "fill_uint", &spans, 1, &CL_INT(0), 1);
}
