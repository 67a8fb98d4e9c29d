// One function on several threads, started at the same moment.
#include "together.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

typedef struct gang {
  void (*body)(int, void *);
  void *data;
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

static void *run(void *arg) {
  member *m = arg;
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
  gang g = {body, data, threads};
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
