// Memory of a device, and what goes to it and comes back.
#define _GNU_SOURCE
#include "opencl/device.h"

#include <stdlib.h>
#include <sys/mman.h>

static void drop(kiln__cl *cl, const kiln__cl_buffer *b) {
  cl->api->clReleaseMemObject(b->memory);
  munmap(b->base, b->size);
  free(b->pages);
}

void kiln__cl_free_all(kiln__cl *cl) {
  for (int i = 0; i < cl->buffer_count; i++) drop(cl, &cl->buffers[i]);
  free(cl->buffers);
}

const kiln__cl_buffer *kiln__cl_find(const kiln__cl *cl, const void *address) {
  const char *at = address;
  int low = 0, high = cl->buffer_count;
  while (low < high) {
    int middle = (low + high) / 2;
    const kiln__cl_buffer *b = &cl->buffers[middle];
    if (at < b->base) high = middle;
    else if (at >= b->base + b->size) low = middle + 1;
    else return b;
  }
  return NULL;
}

kiln_status kiln__cl_alloc(kiln_context *ctx, size_t bytes, void **out) {
  kiln__cl *cl = ctx->cl;
  if (cl->buffer_count == cl->buffer_capacity) {
    int capacity = cl->buffer_capacity * 2 + 16;
    kiln__cl_buffer *grown = realloc(cl->buffers, (size_t)capacity * sizeof *grown);
    if (!grown) return kiln__fail(ctx, KILN_ERR_MEMORY, "a list of %d buffers could not be had", capacity);
    cl->buffers = grown;
    cl->buffer_capacity = capacity;
  }
  kiln__cl_buffer b = {.size = (size_t)kiln__round_up((int64_t)kiln__max((int64_t)bytes, 1), 4096)};
  // A CPU takes the host's huge pages as they are; those that its driver would take are small.
  if (cl->info.is_cpu) b.pages = kiln__allocate_host(b.size);
  cl_bitfield flags = CL_MEM_READ_WRITE | (b.pages ? CL_MEM_USE_HOST_PTR : 0);
  cl_int code;
  b.memory = cl->api->clCreateBuffer(cl->context, flags, b.size, b.pages, &code);
  if (code != CL_SUCCESS) {
    free(b.pages);
    return kiln__fail(ctx, KILN_ERR_MEMORY, "%zu bytes on %s could not be had: %s; it has %llu, and %llu at once", bytes,
                      cl->info.name, kiln__cl_error(code), (unsigned long long)cl->info.memory,
                      (unsigned long long)cl->info.largest_allocation);
  }
  b.base = mmap(NULL, b.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (b.base == MAP_FAILED) {
    cl->api->clReleaseMemObject(b.memory);
    free(b.pages);
    return kiln__fail(ctx, KILN_ERR_MEMORY, "addresses for %zu bytes could not be had", bytes);
  }
  int at = cl->buffer_count++;
  for (; at > 0 && cl->buffers[at - 1].base > b.base; at--) cl->buffers[at] = cl->buffers[at - 1];
  cl->buffers[at] = b;
  *out = b.base;
  return KILN_OK;
}

kiln_status kiln__cl_release(kiln_context *ctx, void *address) {
  kiln__cl *cl = ctx->cl;
  const kiln__cl_buffer *b = kiln__cl_find(cl, address);
  if (!b || b->base != address) return kiln__fail(ctx, KILN_ERR_OPTION, "no memory of the device begins there");
  int at = (int)(b - cl->buffers);
  cl->api->clFinish(cl->queue);
  drop(cl, b);
  cl->buffer_count--;
  for (; at < cl->buffer_count; at++) cl->buffers[at] = cl->buffers[at + 1];
  return KILN_OK;
}

kiln_status kiln_device_alloc(kiln_context *ctx, size_t bytes, void **out) {
  KILN_TRY(kiln__cl_begin(ctx, "device_alloc"));
  if (!out) return kiln__fail(ctx, KILN_ERR_NULL, "out is NULL");
  *out = NULL;
  if (bytes > INT64_MAX / 2) return kiln__fail(ctx, KILN_ERR_OVERFLOW, "%zu bytes", bytes);
  return kiln__cl_alloc(ctx, bytes, out);
}

kiln_status kiln_device_free(kiln_context *ctx, void *address) {
  KILN_TRY(kiln__cl_begin(ctx, "device_free"));
  return address ? kiln__cl_release(ctx, address) : KILN_OK;
}

kiln_status kiln__cl_locate(kiln_context *ctx, const void *device, size_t bytes, cl_mem *memory, size_t *offset) {
  const kiln__cl_buffer *b = kiln__cl_find(ctx->cl, device);
  if (!b || bytes > b->size - (size_t)((const char *)device - b->base)) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "these %zu bytes are not memory of the device", bytes);
  }
  *memory = b->memory;
  *offset = (size_t)((const char *)device - b->base);
  return KILN_OK;
}

kiln_status kiln__cl_upload(kiln_context *ctx, void *device, const void *host, size_t bytes) {
  if (bytes == 0 || ctx->query) return KILN_OK;
  cl_mem memory;
  size_t offset;
  KILN_TRY(kiln__cl_locate(ctx, device, bytes, &memory, &offset));
  cl_int code = ctx->cl->api->clEnqueueWriteBuffer(ctx->cl->queue, memory, 1, offset, bytes, host, 0, NULL, NULL);
  return code == CL_SUCCESS ? KILN_OK : kiln__cl_fail(ctx, "clEnqueueWriteBuffer", code);
}

kiln_status kiln__cl_download(kiln_context *ctx, void *host, const void *device, size_t bytes) {
  if (bytes == 0 || ctx->query) return KILN_OK;
  cl_mem memory;
  size_t offset;
  KILN_TRY(kiln__cl_locate(ctx, device, bytes, &memory, &offset));
  cl_int code = ctx->cl->api->clEnqueueReadBuffer(ctx->cl->queue, memory, 1, offset, bytes, host, 0, NULL, NULL);
  return code == CL_SUCCESS ? KILN_OK : kiln__cl_fail(ctx, "clEnqueueReadBuffer", code);
}

kiln_status kiln__cl_constant(kiln_context *ctx, void **place, const void *bytes, size_t size) {
  if (*place || ctx->query) return KILN_OK;
  KILN_TRY(kiln__cl_alloc(ctx, size, place));
  return kiln__cl_upload(ctx, *place, bytes, size);
}

kiln_status kiln_device_write(kiln_context *ctx, void *device, const void *host, size_t bytes) {
  KILN_TRY(kiln__cl_begin(ctx, "device_write"));
  return kiln__cl_upload(ctx, device, host, bytes);
}

kiln_status kiln_device_read(kiln_context *ctx, void *host, const void *device, size_t bytes) {
  KILN_TRY(kiln__cl_begin(ctx, "device_read"));
  return kiln__cl_download(ctx, host, device, bytes);
}
