// sched_getaffinity
#define _GNU_SOURCE
#include "opencl/device.h"

#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_THREADS = 1024 };

static _Thread_local char creation_error[KILN_ERROR_LENGTH];

const char *kiln_status_name(kiln_status status) {
  switch (status) {
#define NAME(code) case code: return #code
    NAME(KILN_OK);
    NAME(KILN_ERR_NULL);
    NAME(KILN_ERR_OPTION);
    NAME(KILN_ERR_SHAPE);
    NAME(KILN_ERR_STRIDE);
    NAME(KILN_ERR_DTYPE);
    NAME(KILN_ERR_INDEX);
    NAME(KILN_ERR_OVERFLOW);
    NAME(KILN_ERR_MEMORY);
    NAME(KILN_ERR_WORKSPACE);
    NAME(KILN_ERR_ISA);
    NAME(KILN_ERR_DEVICE);
    NAME(KILN_ERR_LIBRARY);
#undef NAME
  }
  return "unknown status";
}

static int32_t available_threads(void) {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? (int32_t)n : 1;
}

static kiln_status choose_threads(int32_t asked, int32_t *threads) {
  const char *variable = getenv("KILN_THREADS");
  long n = asked;
  if (asked == 0) {
    char *end = NULL;
    n = variable && *variable ? strtol(variable, &end, 10) : available_threads();
    if (end && *end) n = -1;
  }
  if (n < 1 || n > MAX_THREADS) {
    snprintf(creation_error, sizeof creation_error, "context_create: %s is not a number of threads in 1...%d",
             asked == 0 && variable ? variable : "the option threads", MAX_THREADS);
    return KILN_ERR_OPTION;
  }
  *threads = (int32_t)n;
  return KILN_OK;
}

// The reference loops are their own provider.
static kiln_status choose_gemm(const kiln_context_options *o, kiln__openblas *openblas) {
  const char *variable = getenv("KILN_GEMM");
  bool by_name = o->gemm == KILN_GEMM_DEFAULT && variable && *variable;
  if (by_name && strcmp(variable, "kiln") && strcmp(variable, "openblas")) {
    snprintf(creation_error, sizeof creation_error, "context_create: KILN_GEMM is '%s', not kiln or openblas", variable);
    return KILN_ERR_OPTION;
  }
  if (o->gemm > KILN_GEMM_OPENBLAS) {
    snprintf(creation_error, sizeof creation_error, "context_create: unknown provider of products %d", o->gemm);
    return KILN_ERR_OPTION;
  }
  bool wanted = by_name ? !strcmp(variable, "openblas") : o->gemm == KILN_GEMM_OPENBLAS;
  if (!wanted || o->device != KILN_DEVICE_CPU) return KILN_OK;
  return kiln__openblas_load(openblas, creation_error, sizeof creation_error);
}

kiln_status kiln_context_create(kiln_context **out, const kiln_context_options *options) {
  creation_error[0] = 0;
  if (!out) return KILN_ERR_NULL;
  *out = NULL;
  kiln_context_options o = kiln_context_defaults();
  if (options) memcpy(&o, options, kiln__min(options->size, sizeof o));
  if ((unsigned)o.device > KILN_DEVICE_OPENCL) {
    snprintf(creation_error, sizeof creation_error, "context_create: unknown device %d", o.device);
    return KILN_ERR_DEVICE;
  }
  int32_t threads;
  KILN_TRY(choose_threads(o.threads, &threads));
  const kiln__row *row;
  KILN_TRY(kiln__choose_row(o.device, o.isa, &row, creation_error, sizeof creation_error));
  kiln__openblas openblas = {0};
  KILN_TRY(choose_gemm(&o, &openblas));
  kiln_context *ctx = calloc(1, sizeof *ctx);
  if (!ctx) return KILN_ERR_MEMORY;
  ctx->device = o.device;
  ctx->threads = threads;
  ctx->isa = row->name;
  ctx->openblas = openblas;
  ctx->op = "context";
  if (o.device == KILN_DEVICE_OPENCL) {
    ctx->isa = "opencl";
    kiln_status status =
        kiln__cl_create(o.device_index, o.cache, o.tile, &ctx->cl, creation_error, sizeof creation_error);
    if (status != KILN_OK) {
      free(ctx);
      return status;
    }
  }
  kiln__fill_kernels(ctx->kernels, row);
  *out = ctx;
  return KILN_OK;
}

void kiln_context_free(kiln_context *ctx) {
  if (!ctx) return;
  kiln__workspace_end(ctx);
  kiln__cl_end(ctx->cl);
  free(ctx);
}

char *kiln__creation_error(void) { return creation_error; }

const char *kiln_last_error(const kiln_context *ctx) { return ctx ? ctx->error : creation_error; }
int32_t kiln_context_threads(const kiln_context *ctx) { return ctx ? ctx->threads : 0; }
const char *kiln_context_isa(const kiln_context *ctx) { return ctx ? ctx->isa : ""; }

const char *kiln_context_gemm(const kiln_context *ctx) {
  return !ctx ? "" : ctx->openblas.sgemm ? "openblas" : "kiln";
}

void kiln_context_set_query(kiln_context *ctx, bool on) {
  if (ctx) ctx->query = on;
}

kiln_status kiln__begin(kiln_context *ctx, const char *op) {
  KILN_TRY(kiln__begin_device(ctx, op));
  if (!ctx->cl) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_DEVICE, "there is no OpenCL kernel for it yet; the device cpu has one");
}

kiln_status kiln__begin_device(kiln_context *ctx, const char *op) {
  if (!ctx) return KILN_ERR_NULL;
  ctx->op = op;
  ctx->error[0] = 0;
  kiln__scratch_release(ctx, 0);
  return KILN_OK;
}

kiln_status kiln__fail(kiln_context *ctx, kiln_status status, const char *format, ...) {
  int at = snprintf(ctx->error, sizeof ctx->error, "%s: ", ctx->op);
  va_list args;
  va_start(args, format);
  vsnprintf(ctx->error + at, sizeof ctx->error - (size_t)at, format, args);
  va_end(args);
  return status;
}

kiln_status kiln__options(kiln_context *ctx, void *out, size_t size, const void *given) {
  if (!given) return KILN_OK;
  uint32_t theirs;
  memcpy(&theirs, given, sizeof theirs);
  if (theirs < sizeof theirs) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "the options' first field, their size, is %u", theirs);
  }
  memcpy(out, given, (size_t)kiln__min((int64_t)theirs, (int64_t)size));
  return KILN_OK;
}
