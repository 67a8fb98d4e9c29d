// Memory ceilings: each thread streams through its own part of the memory.
#define _GNU_SOURCE
#include "ceilings.h"
#include "together.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

typedef float vec __attribute__((vector_size(32)));
enum { LANES = 8, GRANULE = 24 * 8 * LANES }; // a part divides into 1, 3, 4 and 8 streams of whole unrolled vectors

struct ceiling_memory {
  vec *data;
  size_t bytes;
  size_t part; // vectors of one thread
  int threads;
};

#define BODY static inline __attribute__((always_inline))

// Sums of `streams` equal stretches of x, eight vectors at a time.
BODY void read_body(const vec *x, size_t n, int streams) {
  vec sum[8] = {0};
  size_t stretch = n / (size_t)streams;
  for (size_t i = 0; i < stretch; i += 8 / (size_t)streams) {
    for (int s = 0; s < 8; s++) sum[s] += x[(size_t)(s % streams) * stretch + i + (size_t)(s / streams)];
  }
  for (int s = 0; s < 8; s++) __asm__ volatile("" ::"m"(sum[s]));
}

BODY void triad_body(vec *x, size_t n) {
  size_t third = n / 3;
  for (size_t i = 0; i < third; i++) __builtin_nontemporal_store(x[third + i] + 0.5f * x[2 * third + i], &x[i]);
}

BODY void update_body(vec *x, size_t n) {
  for (size_t i = 0; i < n; i++) x[i] *= 0.5f;
}

BODY void update_streams_body(vec *x, size_t n) {
  size_t quarter = n / 4;
  vec *w = x, *m = x + quarter, *v = x + 2 * quarter, *g = x + 3 * quarter;
  for (size_t i = 0; i < quarter; i++) {
    m[i] += g[i];
    v[i] += g[i] * g[i];
    w[i] -= m[i];
  }
}

BODY void run_body(ceiling_pattern pattern, vec *x, size_t n) {
  switch (pattern) {
  case CEILING_READ: read_body(x, n, 1); break;
  case CEILING_READ_STREAMS: read_body(x, n, 8); break;
  case CEILING_TRIAD: triad_body(x, n); break;
  case CEILING_UPDATE: update_body(x, n); break;
  default: update_streams_body(x, n); break;
  }
}

static double bytes_per_vector(ceiling_pattern pattern) {
  switch (pattern) {
  case CEILING_UPDATE: return 2 * sizeof(vec);
  case CEILING_UPDATE_STREAMS: return 7.0 / 4 * sizeof(vec);
  default: return sizeof(vec);
  }
}

static void run_base(ceiling_pattern pattern, vec *x, size_t n) { run_body(pattern, x, n); }
#if defined(__x86_64__)
__attribute__((target("avx2"))) static void run_avx2(ceiling_pattern pattern, vec *x, size_t n) {
  run_body(pattern, x, n);
}
static void run(ceiling_pattern pattern, vec *x, size_t n) {
  __builtin_cpu_supports("avx2") ? run_avx2(pattern, x, n) : run_base(pattern, x, n);
}
#else
static void run(ceiling_pattern pattern, vec *x, size_t n) { run_base(pattern, x, n); }
#endif

static void touch(int thread, void *data) {
  ceiling_memory *memory = data;
  memset(memory->data + (size_t)thread * memory->part, 0, memory->part * sizeof(vec));
}

ceiling_memory *ceiling_memory_create(size_t bytes, bool huge, int threads) {
  ceiling_memory *memory = calloc(1, sizeof *memory);
  size_t part = threads < 1 ? 0 : bytes / (size_t)threads / sizeof(vec) / GRANULE * GRANULE;
  if (!memory || part == 0) return free(memory), NULL;
  *memory = (ceiling_memory){.bytes = part * sizeof(vec) * (size_t)threads, .part = part, .threads = threads};
  void *data = mmap(NULL, memory->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
  if (data == MAP_FAILED) return free(memory), NULL;
#if defined(MADV_HUGEPAGE)
  madvise(data, memory->bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#endif
  memory->data = data;
  if (together(threads, touch, memory) <= 0) return ceiling_memory_free(memory), NULL;
  return memory;
}

void ceiling_memory_free(ceiling_memory *memory) {
  if (memory) munmap(memory->data, memory->bytes);
  free(memory);
}

typedef struct pass {
  ceiling_memory *memory;
  ceiling_pattern pattern;
} pass;

static void stream(int thread, void *data) {
  pass *p = data;
  run(p->pattern, p->memory->data + (size_t)thread * p->memory->part, p->memory->part);
}

double ceiling_bandwidth(ceiling_memory *memory, ceiling_pattern pattern) {
  pass p = {memory, pattern};
  double seconds = together(memory->threads, stream, &p);
  return seconds > 0 ? bytes_per_vector(pattern) * (double)memory->part * memory->threads / seconds : 0;
}
