// One function on several threads, started at the same moment.
#define _GNU_SOURCE
#include "together.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

typedef struct gang {
  void (*body)(int, void *);
  void *data;
  int threads;
  atomic_int waiting; // threads that are not there yet; negative once the gang is called off
} gang;

typedef struct member {
  gang *gang;
  int index;
  double start, end;
} member;

double seconds_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// New threads may share a CPU until the scheduler looks again, which a short measurement would take for a slow machine.
// Where there is one thread for every CPU, each takes its own.
static void take_own_cpu(int index, int threads) {
#if defined(__linux__)
  cpu_set_t all, own;
  if (sched_getaffinity(0, sizeof all, &all) != 0 || CPU_COUNT(&all) != threads) return;
  int cpu = 0;
  for (int left = index; !CPU_ISSET(cpu, &all) || left-- > 0;) cpu++;
  CPU_ZERO(&own);
  CPU_SET(cpu, &own);
  pthread_setaffinity_np(pthread_self(), sizeof own, &own);
#else
  (void)index, (void)threads;
#endif
}

static void *run(void *arg) {
  member *m = arg;
  take_own_cpu(m->index, m->gang->threads);
  atomic_fetch_sub(&m->gang->waiting, 1);
  while (atomic_load(&m->gang->waiting) > 0) sched_yield();
  if (atomic_load(&m->gang->waiting) < 0) return NULL;
  m->start = seconds_now();
  m->gang->body(m->index, m->gang->data);
  m->end = seconds_now();
  return NULL;
}

double together(int threads, void (*body)(int, void *), void *data) {
  if (threads < 1 || threads > MAX_THREADS) return 0;
  pthread_t ids[MAX_THREADS];
  member members[MAX_THREADS];
  gang g = {body, data, threads, threads};
  int started = 0;
  for (; started < threads; started++) {
    members[started] = (member){&g, started, 0, 0};
    if (pthread_create(&ids[started], NULL, run, &members[started]) != 0) break;
  }
  if (started < threads) atomic_store(&g.waiting, -MAX_THREADS);
  double start = 0, end = 0;
  for (int i = 0; i < started; i++) {
    pthread_join(ids[i], NULL);
    if (i == 0 || members[i].start < start) start = members[i].start;
    if (i == 0 || members[i].end > end) end = members[i].end;
  }
  return started == threads ? end - start : 0;
}
