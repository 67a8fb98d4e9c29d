#include "core/parallel.h"

#include <stdatomic.h>

typedef struct team {
  _Atomic int64_t next;
  int64_t chunks;
  kiln__body body;
  void *arg;
} team;

static void work(team *t, int thread) {
  for (;;) {
    int64_t chunk = atomic_fetch_add_explicit(&t->next, 1, memory_order_relaxed);
    if (chunk >= t->chunks) return;
    t->body(t->arg, chunk, thread);
  }
}

#if defined(KILN_OPENMP)
// Entry points of libomp, declared here since its header is not on every compiler's path. GOMP_parallel takes the
// region as a function, so no compiler flag is needed and no region body loses its target attribute.
extern void GOMP_parallel(void (*region)(void *), void *data, unsigned threads, unsigned flags);
extern int omp_get_thread_num(void);

static void region(void *data) { work(data, omp_get_thread_num()); }

static void fork(team *t, int32_t threads) { GOMP_parallel(region, t, (unsigned)threads, 0); }
#else
static void fork(team *t, int32_t threads) {
  (void)threads;
  work(t, 0);
}
#endif

void kiln__parallel_for(const kiln_context *ctx, int64_t chunks, kiln__body body, void *arg) {
  team t = {0, chunks, body, arg};
  int64_t threads = kiln__min(ctx->threads, chunks);
  if (threads <= 1) {
    work(&t, 0);
  } else {
    fork(&t, (int32_t)threads);
  }
}
