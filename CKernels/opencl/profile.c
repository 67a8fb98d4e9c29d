// What kernels take, by the events of their launches.
#include "opencl/device.h"

#include <stdlib.h>

enum { MOST_EVENTS = 4096 };

// Adds what has been noted to its kernels, when all of it is done.
static kiln_status count(kiln_context *ctx) {
  kiln__cl *cl = ctx->cl;
  cl_int code = cl->api->clFinish(cl->queue);
  if (code != CL_SUCCESS) return kiln__cl_fail(ctx, "clFinish", code);
  for (int i = 0; i < cl->event_count; i++) {
    cl_ulong begin = 0, end = 0;
    cl->api->clGetEventProfilingInfo(cl->events[i].event, CL_PROFILING_COMMAND_START, sizeof begin, &begin, NULL);
    cl->api->clGetEventProfilingInfo(cl->events[i].event, CL_PROFILING_COMMAND_END, sizeof end, &end, NULL);
    for (int k = 0; k < cl->kernel_count; k++) {
      if (cl->kernels[k].kernel != cl->events[i].kernel) continue;
      cl->kernels[k].launches++;
      cl->kernels[k].seconds += (double)(end - begin) * 1e-9;
    }
  }
  kiln__cl_forget(cl);
  return KILN_OK;
}

void kiln__cl_forget(kiln__cl *cl) {
  for (int i = 0; i < cl->event_count; i++) cl->api->clReleaseEvent(cl->events[i].event);
  cl->event_count = 0;
}

kiln_status kiln__cl_note(kiln_context *ctx, cl_kernel kernel, cl_event event) {
  kiln__cl *cl = ctx->cl;
  if (cl->event_count == cl->event_capacity) {
    int capacity = cl->event_capacity * 2 + 64;
    void *grown = realloc(cl->events, (size_t)capacity * sizeof *cl->events);
    if (!grown) {
      cl->api->clReleaseEvent(event);
      return kiln__fail(ctx, KILN_ERR_MEMORY, "a list of %d events could not be had", capacity);
    }
    cl->events = grown;
    cl->event_capacity = capacity;
  }
  cl->events[cl->event_count].kernel = kernel;
  cl->events[cl->event_count++].event = event;
  return cl->event_count < MOST_EVENTS ? KILN_OK : count(ctx);
}

kiln_status kiln_device_profile(kiln_context *ctx, bool on) {
  KILN_TRY(kiln__cl_begin(ctx, "device_profile"));
  KILN_TRY(count(ctx));
  ctx->cl->is_profiled = on;
  for (int k = 0; on && k < ctx->cl->kernel_count; k++) {
    ctx->cl->kernels[k].launches = 0;
    ctx->cl->kernels[k].seconds = 0;
  }
  return KILN_OK;
}

static int by_time(const void *a, const void *b) {
  double x = ((const kiln_kernel_time *)a)->seconds, y = ((const kiln_kernel_time *)b)->seconds;
  return x < y ? 1 : x > y ? -1 : 0;
}

kiln_status kiln_device_times(kiln_context *ctx, kiln_kernel_time *times, int32_t capacity, int32_t *found) {
  KILN_TRY(kiln__cl_begin(ctx, "device_times"));
  if (!found || (!times && capacity > 0)) return kiln__fail(ctx, KILN_ERR_NULL, "times or count is NULL");
  KILN_TRY(count(ctx));
  kiln_kernel_time all[KILN_CL_KERNELS] = {0};
  int32_t n = 0;
  for (int k = 0; k < ctx->cl->kernel_count; k++) {
    if (ctx->cl->kernels[k].launches == 0) continue;
    int32_t i = 0;  // one of the same name may be there, for another type
    while (i < n && strcmp(all[i].name, ctx->cl->kernels[k].name) != 0) i++;
    strncpy(all[i].name, ctx->cl->kernels[k].name, sizeof all[i].name - 1);
    all[i].launches += ctx->cl->kernels[k].launches;
    all[i].seconds += ctx->cl->kernels[k].seconds;
    n = kiln__max(n, i + 1);
  }
  qsort(all, (size_t)n, sizeof *all, by_time);
  memcpy(times, all, (size_t)kiln__min(n, capacity) * sizeof *all);
  *found = n;
  return KILN_OK;
}
