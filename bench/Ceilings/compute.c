// Arithmetic ceilings: chains of one instruction that never leave the registers.
#include "ceilings.h"
#include "together.h"

enum { CHAINS = 12, ROUNDS = 50000 };

typedef struct loop {
  void (*run)(long rounds);
  int operations; // of one instruction
} loop;

// The chains are named in one assembly block: the compiler can neither drop them nor move them to memory. %13 is a
// number that goes into them, %12 a register for what is on its way.
#if defined(__x86_64__)
#include <immintrin.h>
#define CHAIN_LOOP(name, isa, instruction, type, start)                                                              \
  __attribute__((target(isa))) static void name(long rounds) {                                                      \
    type t, x = start, a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x, k = x, l = x;             \
    for (long r = 0; r < rounds; r++) {                                                                              \
      __asm__ volatile(instruction(0) instruction(1) instruction(2) instruction(3) instruction(4) instruction(5)     \
                       instruction(6) instruction(7) instruction(8) instruction(9) instruction(10) instruction(11)   \
                       : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f), "+v"(g), "+v"(h), "+v"(i), "+v"(j),   \
                         "+v"(k), "+v"(l), "=&v"(t)                                                                  \
                       : "v"(x));                                                                                    \
    }                                                                                                                \
  }
#define FMA(i) "vfmadd231ps %13, %13, %" #i "\n\t"
#define DPBF16(i) "vdpbf16ps %13, %13, %" #i "\n\t"
#define DPBUSD(i) "vpdpbusd %13, %13, %" #i "\n\t"
#define MADDWD(i) "vpmaddwd %13, %13, %12\n\tvpaddd %12, %" #i ", %" #i "\n\t"
CHAIN_LOOP(fma_avx2, "avx2,fma", FMA, __m256, _mm256_set1_ps(1e-4f))
CHAIN_LOOP(fma_avx512, "avx512f", FMA, __m512, _mm512_set1_ps(1e-4f))
CHAIN_LOOP(dpbf16_avx512, "avx512f,avx512bf16", DPBF16, __m512i, _mm512_set1_epi16(0x3c00))
CHAIN_LOOP(maddwd_avx2, "avx2", MADDWD, __m256i, _mm256_set1_epi16(3))
CHAIN_LOOP(maddwd_avx512, "avx512f,avx512bw", MADDWD, __m512i, _mm512_set1_epi16(3))
CHAIN_LOOP(dpbusd_avx512, "avx512f,avx512vnni", DPBUSD, __m512i, _mm512_set1_epi8(3))

static loop find(ceiling_unit unit) {
  switch (unit) {
  case CEILING_FMA:
    if (__builtin_cpu_supports("avx512f")) return (loop){fma_avx512, 32};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return (loop){fma_avx2, 16};
    break;
  case CEILING_DPBF16:
    if (__builtin_cpu_supports("avx512bf16")) return (loop){dpbf16_avx512, 64};
    break;
  case CEILING_MADDWD:
    if (__builtin_cpu_supports("avx512bw")) return (loop){maddwd_avx512, 64};
    if (__builtin_cpu_supports("avx2")) return (loop){maddwd_avx2, 32};
    break;
  case CEILING_DPBUSD:
    if (__builtin_cpu_supports("avx512vnni")) return (loop){dpbusd_avx512, 128};
    break;
  }
  return (loop){0};
}
#elif defined(__aarch64__)
#include <arm_neon.h>
static void fma_neon(long rounds) {
  float32x4_t x = vdupq_n_f32(1e-4f), a[CHAINS];
  for (int i = 0; i < CHAINS; i++) a[i] = x;
  for (long r = 0; r < rounds; r++) {
    for (int i = 0; i < CHAINS; i++) __asm__ volatile("fmla %0.4s, %1.4s, %1.4s" : "+w"(a[i]) : "w"(x));
  }
}
static loop find(ceiling_unit unit) { return unit == CEILING_FMA ? (loop){fma_neon, 8} : (loop){0}; }
#else
static loop find(ceiling_unit unit) { return (loop){0}; }
#endif

typedef struct job {
  loop loop;
  double seconds;
  long rounds[MAX_THREADS];
} job;

static void work(int thread, void *data) {
  job *j = data;
  double end = seconds_now() + j->seconds;
  long rounds = 0;
  do {
    j->loop.run(ROUNDS);
    rounds += ROUNDS;
  } while (seconds_now() < end);
  j->rounds[thread] = rounds;
}

double ceiling_compute(ceiling_unit unit, int threads, double seconds) {
  job j = {.loop = find(unit), .seconds = seconds};
  if (!j.loop.run) return 0;
  double elapsed = together(threads, work, &j), rounds = 0;
  if (elapsed <= 0) return 0;
  for (int i = 0; i < threads; i++) rounds += (double)j.rounds[i];
  return rounds * CHAINS * j.loop.operations / elapsed;
}
