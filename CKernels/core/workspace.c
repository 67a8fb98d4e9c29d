// madvise
#define _GNU_SOURCE
#include "opencl/device.h"

#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

// Memory added while `base` was in use. `base` itself cannot move under pointers into it.
typedef struct kiln__block {
  struct kiln__block *next;
  void *data;
} kiln__block;

enum { HUGE_PAGE = 2 << 20 };

// Streaming through packed panels in pages of 4 KiB costs several percent of a product.
void *kiln__allocate_host(size_t bytes) {
  void *p = NULL;
  bool large = bytes >= 2 * HUGE_PAGE;
  if (posix_memalign(&p, large ? HUGE_PAGE : KILN_ALIGNMENT, bytes) != 0) return NULL;
#if defined(__linux__)
  if (large) madvise(p, bytes, MADV_HUGEPAGE);
#endif
  return p;
}

// On the device of the context. NULL if there is none to be had, which is then the context's last error.
static void *allocate(kiln_context *ctx, size_t bytes) {
  void *p = NULL;
  if (ctx->cl) {
    kiln__cl_alloc(ctx, bytes, &p);
  } else {
    p = kiln__allocate_host(bytes);
    if (!p) kiln__fail(ctx, KILN_ERR_MEMORY, "%zu bytes of scratch could not be had", bytes);
  }
  return p;
}

static void release(kiln_context *ctx, void *data) {
  if (ctx->cl && data) kiln__cl_release(ctx, data);
  else free(data);
}

static void free_overflow(kiln_context *ctx) {
  kiln__workspace *w = &ctx->workspace;
  while (w->overflow) {
    kiln__block *next = w->overflow->next;
    release(ctx, w->overflow->data);
    free(w->overflow);
    w->overflow = next;
  }
}

static kiln_status grow(kiln_context *ctx, size_t need) {
  kiln__workspace *w = &ctx->workspace;
  release(ctx, w->base);
  w->size = 0;
  w->base = allocate(ctx, need);
  if (!w->base) return KILN_ERR_MEMORY;
  w->size = need;
  return KILN_OK;
}

kiln_status kiln__scratch(kiln_context *ctx, size_t bytes, void **out) {
  kiln__workspace *w = &ctx->workspace;
  *out = NULL;
  if (bytes > SIZE_MAX / 2) return kiln__fail(ctx, KILN_ERR_OVERFLOW, "scratch of %zu bytes", bytes);
  bytes = (size_t)kiln__round_up((int64_t)bytes, KILN_ALIGNMENT);
  size_t start = w->used, need = start + bytes;
  w->used = need;
  if (need > w->peak) w->peak = need;
  if (ctx->query) return KILN_OK;
  if (need > w->size && w->borrowed) {
    return kiln__fail(ctx, KILN_ERR_WORKSPACE, "needs %zu bytes of workspace, the caller set %zu", need, w->size);
  }
  if (need > w->size && start == 0) KILN_TRY(grow(ctx, kiln__max((int64_t)need, (int64_t)w->peak)));
  if (need <= w->size) {
    *out = w->base + start;
    return KILN_OK;
  }
  kiln__block *block = malloc(sizeof *block);
  if (!block) return kiln__fail(ctx, KILN_ERR_MEMORY, "%zu bytes of scratch could not be had", sizeof *block);
  *block = (kiln__block){w->overflow, allocate(ctx, bytes)};
  w->overflow = block;
  if (!block->data) return KILN_ERR_MEMORY;
  *out = block->data;
  return KILN_OK;
}

size_t kiln__scratch_mark(const kiln_context *ctx) { return ctx->workspace.used; }

void kiln__scratch_release(kiln_context *ctx, size_t mark) {
  ctx->workspace.used = mark;
  if (mark == 0) free_overflow(ctx);
}

kiln_status kiln_context_set_workspace(kiln_context *ctx, void *data, size_t bytes) {
  KILN_TRY(kiln__begin_device(ctx, "context_set_workspace"));
  if ((uintptr_t)data % KILN_ALIGNMENT) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "data is not %d-byte aligned", KILN_ALIGNMENT);
  }
  size_t peak = ctx->workspace.peak;
  kiln__workspace_end(ctx);
  ctx->workspace.peak = peak;
  if (data) {
    ctx->workspace.base = data;
    ctx->workspace.size = bytes;
    ctx->workspace.borrowed = true;
  }
  return KILN_OK;
}

size_t kiln_context_workspace_peak(const kiln_context *ctx) { return ctx ? ctx->workspace.peak : 0; }

void kiln_context_reset_workspace_peak(kiln_context *ctx) {
  if (ctx) ctx->workspace.peak = 0;
}

void kiln__workspace_end(kiln_context *ctx) {
  free_overflow(ctx);
  if (!ctx->workspace.borrowed) release(ctx, ctx->workspace.base);
  ctx->workspace = (kiln__workspace){0};
}
