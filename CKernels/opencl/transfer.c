// Transfers beside the kernels, on a queue of their own.
#include "opencl/device.h"

#include <stdlib.h>

struct kiln_transfer {
  const kiln__cl *cl;
  cl_mem memory;
  size_t offset, size;
  cl_event ready;  // when all that was asked for before is done
};

kiln_status kiln_transfer_begin(kiln_context *ctx, void *device, size_t bytes, kiln_transfer **out) {
  KILN_TRY(kiln__cl_begin(ctx, "transfer_begin"));
  if (!out) return kiln__fail(ctx, KILN_ERR_NULL, "out is NULL");
  *out = NULL;
  kiln__cl *cl = ctx->cl;
  cl_mem memory;
  size_t offset;
  KILN_TRY(kiln__cl_locate(ctx, device, bytes, &memory, &offset));
  cl_int code = CL_SUCCESS;
  if (!cl->transfers) cl->transfers = cl->api->clCreateCommandQueue(cl->context, cl->device, 0, &code);
  if (code != CL_SUCCESS) return kiln__cl_fail(ctx, "clCreateCommandQueue", code);
  cl_event ready;
  code = cl->api->clEnqueueMarkerWithWaitList(cl->queue, 0, NULL, &ready);
  if (code != CL_SUCCESS) return kiln__cl_fail(ctx, "clEnqueueMarkerWithWaitList", code);
  code = cl->api->clFlush(cl->queue);
  kiln_transfer *t = code == CL_SUCCESS ? malloc(sizeof *t) : NULL;
  if (!t) {
    cl->api->clReleaseEvent(ready);
    return code != CL_SUCCESS ? kiln__cl_fail(ctx, "clFlush", code)
                              : kiln__fail(ctx, KILN_ERR_MEMORY, "%zu bytes could not be had", sizeof *t);
  }
  *t = (kiln_transfer){cl, memory, offset, bytes, ready};
  *out = t;
  return KILN_OK;
}

static kiln_status check(const kiln_transfer *t, size_t offset, const void *host, size_t bytes) {
  if (!t || (!host && bytes > 0)) return KILN_ERR_NULL;
  return offset <= t->size && bytes <= t->size - offset ? KILN_OK : KILN_ERR_OPTION;
}

static kiln_status status_of(cl_int code) {
  return code == CL_SUCCESS ? KILN_OK : kiln__cl_is_memory(code) ? KILN_ERR_MEMORY : KILN_ERR_DEVICE;
}

kiln_status kiln_transfer_read(kiln_transfer *t, size_t offset, void *host, size_t bytes) {
  KILN_TRY(check(t, offset, host, bytes));
  if (bytes == 0) return KILN_OK;
  return status_of(t->cl->api->clEnqueueReadBuffer(t->cl->transfers, t->memory, 1, t->offset + offset, bytes, host, 1,
                                                   &t->ready, NULL));
}

kiln_status kiln_transfer_write(kiln_transfer *t, size_t offset, const void *host, size_t bytes) {
  KILN_TRY(check(t, offset, host, bytes));
  if (bytes == 0) return KILN_OK;
  // A blocking write may come back as soon as `host` is free: other queues are to see the bytes, too.
  const kiln__cl_api *api = t->cl->api;
  cl_event written;
  cl_int code = api->clEnqueueWriteBuffer(t->cl->transfers, t->memory, 1, t->offset + offset, bytes, host, 1, &t->ready,
                                          &written);
  if (code != CL_SUCCESS) return status_of(code);
  code = api->clWaitForEvents(1, &written);
  api->clReleaseEvent(written);
  return status_of(code);
}

void kiln_transfer_end(kiln_transfer *t) {
  if (!t) return;
  t->cl->api->clReleaseEvent(t->ready);
  free(t);
}
