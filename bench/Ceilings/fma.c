#include "ceilings.h"

#include <pthread.h>
#include <time.h>

enum { CHAINS = 12, ROUNDS = 100000, MAX_THREADS = 64 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// The chains are named in one assembly block: the compiler can neither drop them nor move them to memory.
#if defined(__x86_64__)
#include <immintrin.h>
#define STEP(i) "vfmadd231ps %12, %12, %" #i "\n\t"
#define FMA_LOOP(name, isa, type, set)                                                                               \
  __attribute__((target(isa))) static void name(long rounds) {                                                      \
    type x = set(1e-4f), a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;         \
    for (long r = 0; r < rounds; r++) {                                                                              \
      __asm__ volatile(STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8) STEP(9) STEP(10) STEP(11) \
                       : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f), "+v"(g), "+v"(h), "+v"(i), "+v"(j),   \
                         "+v"(k), "+v"(l)                                                                            \
                       : "v"(x));                                                                                    \
    }                                                                                                                \
  }
FMA_LOOP(fma_avx2, "avx2,fma", __m256, _mm256_set1_ps)
FMA_LOOP(fma_avx512, "avx512f", __m512, _mm512_set1_ps)

static int lanes(void) {
  return __builtin_cpu_supports("avx512f") ? 16 : __builtin_cpu_supports("fma") ? 8 : 0;
}
static void rounds(long n) { lanes() == 16 ? fma_avx512(n) : fma_avx2(n); }
#elif defined(__aarch64__)
#include <arm_neon.h>
static int lanes(void) { return 4; }
static void rounds(long n) {
  float32x4_t x = vdupq_n_f32(1e-4f), a[CHAINS];
  for (int i = 0; i < CHAINS; i++) a[i] = x;
  for (long r = 0; r < n; r++) {
    for (int i = 0; i < CHAINS; i++) __asm__ volatile("fmla %0.4s, %1.4s, %1.4s" : "+w"(a[i]) : "w"(x));
  }
}
#else
static int lanes(void) { return 0; }
static void rounds(long n) { (void)n; }
#endif

typedef struct job {
  double seconds, rate;
} job;

static void *run(void *arg) {
  job *j = arg;
  double start = now(), end;
  long n = 0;
  do {
    rounds(ROUNDS);
    n += ROUNDS;
    end = now();
  } while (end - start < j->seconds);
  j->rate = (double)n * CHAINS * lanes() * 2 / (end - start);
  return NULL;
}

double ceiling_fma_fp32(int threads, double seconds) {
  pthread_t id[MAX_THREADS];
  job jobs[MAX_THREADS];
  if (threads < 1 || threads > MAX_THREADS || lanes() == 0) return 0;
  int started = 0;
  for (; started < threads; started++) {
    jobs[started] = (job){seconds, 0};
    if (pthread_create(&id[started], NULL, run, &jobs[started]) != 0) break;
  }
  double total = 0;
  for (int i = 0; i < started; i++) {
    pthread_join(id[i], NULL);
    total += jobs[i].rate;
  }
  return total;
}
