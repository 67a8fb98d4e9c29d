// Which devices there are, opening one, and its memory.
#define _GNU_SOURCE
#include "opencl/device.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_PLATFORMS = 16, MAX_DEVICES = 64 };

typedef struct found { cl_platform_id platform; cl_device_id device; } found;

// All devices that can compile. Platforms that fail are left out.
static int find(const kiln__cl_api *api, found out[MAX_DEVICES]) {
  cl_platform_id platforms[MAX_PLATFORMS];
  cl_uint platform_count = 0;
  if (api->clGetPlatformIDs(MAX_PLATFORMS, platforms, &platform_count) != CL_SUCCESS) return 0;
  int count = 0;
  for (cl_uint p = 0; p < kiln__min(platform_count, MAX_PLATFORMS); p++) {
    cl_device_id devices[MAX_DEVICES];
    cl_uint device_count = 0;
    if (api->clGetDeviceIDs(platforms[p], CL_DEVICE_TYPE_ALL, MAX_DEVICES, devices, &device_count)) continue;
    for (cl_uint d = 0; d < kiln__min(device_count, MAX_DEVICES) && count < MAX_DEVICES; d++) {
      cl_bool compiles = 0;
      api->clGetDeviceInfo(devices[d], CL_DEVICE_COMPILER_AVAILABLE, sizeof compiles, &compiles, NULL);
      if (compiles) out[count++] = (found){platforms[p], devices[d]};
    }
  }
  return count;
}

static void describe(const kiln__cl_api *api, const found *f, kiln_opencl_info *info) {
  *info = (kiln_opencl_info){.size = sizeof *info};
  cl_bitfield type = 0;
  api->clGetDeviceInfo(f->device, CL_DEVICE_TYPE, sizeof type, &type, NULL);
  info->is_cpu = (type & CL_DEVICE_TYPE_CPU) != 0;
  api->clGetDeviceInfo(f->device, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof(cl_uint), &info->compute_units, NULL);
  api->clGetDeviceInfo(f->device, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(cl_ulong), &info->memory, NULL);
  api->clGetDeviceInfo(f->device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(cl_ulong), &info->largest_allocation, NULL);
  // A text that is longer than its place is left out, not cut.
  api->clGetDeviceInfo(f->device, CL_DEVICE_NAME, sizeof info->name - 1, info->name, NULL);
  api->clGetPlatformInfo(f->platform, CL_PLATFORM_NAME, sizeof info->platform - 1, info->platform, NULL);
  api->clGetDeviceInfo(f->device, CL_DEVICE_VERSION, sizeof info->version - 1, info->version, NULL);
  api->clGetDeviceInfo(f->device, CL_DRIVER_VERSION, sizeof info->driver - 1, info->driver, NULL);
}

// The device of an index.
static kiln_status choose(int32_t index, const kiln__cl_api **api, found *out, char *error, size_t size) {
  *api = kiln__cl_open(error, size);
  if (!*api) return KILN_ERR_LIBRARY;
  found all[MAX_DEVICES];
  int count = find(*api, all);
  if (index >= 0 && index < count) {
    *out = all[index];
    return KILN_OK;
  }
  if (count == 0) snprintf(error, size, "OpenCL is installed, but no driver offers a device");
  else snprintf(error, size, "there is no OpenCL device %d: there are %d, counted from 0", index, count);
  return KILN_ERR_DEVICE;
}

kiln_status kiln_opencl_count(int32_t *count) {
  if (!count) return KILN_ERR_NULL;
  *count = 0;
  const kiln__cl_api *api = kiln__cl_open(kiln__creation_error(), KILN_ERROR_LENGTH);
  if (!api) return KILN_ERR_LIBRARY;
  found all[MAX_DEVICES];
  *count = find(api, all);
  return KILN_OK;
}

kiln_status kiln_opencl_describe(int32_t index, kiln_opencl_info *info) {
  if (!info || info->size < sizeof info->size) return KILN_ERR_NULL;
  const kiln__cl_api *api;
  found f;
  KILN_TRY(choose(index, &api, &f, kiln__creation_error(), KILN_ERROR_LENGTH));
  kiln_opencl_info known;
  describe(api, &f, &known);
  known.size = (uint32_t)kiln__min(info->size, sizeof known);
  memcpy(info, &known, known.size);
  return KILN_OK;
}

// As asked for, or as it was tuned, or as its class has it.
static kiln_status choose_tile(kiln__cl *cl, const char *name, char *error, size_t size) {
  if (name) {
    cl->tile = kiln__cl_tile_named(name);
    if (cl->tile) return KILN_OK;
    snprintf(error, size, "there is no tile '%s'; the first of them is '%s'", name, kiln__cl_tile_at(0)->name);
    return KILN_ERR_OPTION;
  }
  cl_uint width = 0;
  size_t largest = 0;
  cl->api->clGetDeviceInfo(cl->device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width, NULL);
  cl->api->clGetDeviceInfo(cl->device, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof largest, &largest, NULL);
  cl->tile = kiln__cl_kept_tile(cl);
  if (!cl->tile) cl->tile = kiln__cl_tile_of_class(cl->info.is_cpu, width, largest);
  return KILN_OK;
}

kiln_status kiln__cl_create(int32_t index, const char *cache, const char *tile, kiln__cl **out, char *error,
                            size_t size) {
  const kiln__cl_api *api;
  found f;
  KILN_TRY(choose(index, &api, &f, error, size));
  kiln__cl *cl = calloc(1, sizeof *cl);
  if (!cl) return KILN_ERR_MEMORY;
  cl->api = api;
  cl->device = f.device;
  describe(api, &f, &cl->info);
  kiln__cl_choose_cache(cl->cache, cache);
  kiln_status status = choose_tile(cl, tile, error, size);
  if (status != KILN_OK) {
    kiln__cl_end(cl);
    return status;
  }
  cl->group = cl->tile->items > 0 ? 64 : 1;
  cl_uint subgroups = 0;
  api->clGetDeviceInfo(cl->device, CL_DEVICE_MAX_NUM_SUB_GROUPS, sizeof subgroups, &subgroups, NULL);
  cl->has_subgroups = subgroups > 0 && strncmp(cl->info.version, "OpenCL 3", 8) == 0;
  cl_int code;
  cl->context = api->clCreateContext(NULL, 1, &cl->device, NULL, NULL, &code);
  if (code == CL_SUCCESS) cl->queue = api->clCreateCommandQueue(cl->context, cl->device, CL_QUEUE_PROFILING_ENABLE, &code);
  if (code != CL_SUCCESS) {
    snprintf(error, size, "the OpenCL device %d, %s, cannot be opened: %s", index, cl->info.name, kiln__cl_error(code));
    kiln__cl_end(cl);
    return KILN_ERR_DEVICE;
  }
  *out = cl;
  return KILN_OK;
}

void kiln__cl_end(kiln__cl *cl) {
  if (!cl) return;
  if (cl->queue) cl->api->clFinish(cl->queue);
  kiln__cl_forget(cl);
  free(cl->events);
  for (int i = 0; i < cl->kernel_count; i++) cl->api->clReleaseKernel(cl->kernels[i].kernel);
  for (int i = 0; i < KILN_CL_PROGRAMS; i++) {
    if (cl->programs[i]) cl->api->clReleaseProgram(cl->programs[i]);
  }
  kiln__cl_free_all(cl);
  if (cl->transfers) cl->api->clReleaseCommandQueue(cl->transfers);
  if (cl->queue) cl->api->clReleaseCommandQueue(cl->queue);
  if (cl->context) cl->api->clReleaseContext(cl->context);
  free(cl);
}

bool kiln__cl_is_memory(cl_int code) {
  return code == CL_MEM_OBJECT_ALLOCATION_FAILURE || code == CL_OUT_OF_HOST_MEMORY || code == CL_OUT_OF_RESOURCES;
}

kiln_status kiln__cl_fail(kiln_context *ctx, const char *call, cl_int code) {
  return kiln__fail(ctx, kiln__cl_is_memory(code) ? KILN_ERR_MEMORY : KILN_ERR_DEVICE, "%s on %s: %s", call,
                    ctx->cl->info.name, kiln__cl_error(code));
}

kiln_status kiln__cl_begin(kiln_context *ctx, const char *op) {
  KILN_TRY(kiln__begin_device(ctx, op));
  if (ctx->cl) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_DEVICE, "the context is one of the host, not of a device");
}

kiln_status kiln_device_finish(kiln_context *ctx) {
  KILN_TRY(kiln__cl_begin(ctx, "device_finish"));
  cl_int code = ctx->cl->api->clFinish(ctx->cl->queue);
  return code == CL_SUCCESS ? KILN_OK : kiln__cl_fail(ctx, "clFinish", code);
}
