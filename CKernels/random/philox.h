// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): four words as a function of a
// counter and a key, here for KILN_PHILOX_LANES consecutive counters at a time, in vectors under any target.
#ifndef KILN_PHILOX_H
#define KILN_PHILOX_H

#include <stdint.h>
#include <string.h>

enum { KILN_PHILOX_LANES = 8, KILN_PHILOX_WORDS = 4 * KILN_PHILOX_LANES };

typedef uint32_t kiln__u32s __attribute__((ext_vector_type(KILN_PHILOX_LANES)));
typedef uint64_t kiln__u64s __attribute__((ext_vector_type(KILN_PHILOX_LANES / 2)));

// The words of the counters whose first word is counter[0], counter[0] + 1 ..., in that order. Even and odd lanes are
// multiplied apart, where they lie: each product is a high word above a low one.
static inline __attribute__((always_inline)) void kiln__philox(uint32_t out[KILN_PHILOX_WORDS],
                                                               const uint32_t counter[4], const uint32_t key[2]) {
  const uint64_t low = 0xffffffff, high = ~low;
  kiln__u32s c0 = counter[0] + (kiln__u32s){0, 1, 2, 3, 4, 5, 6, 7}, c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    kiln__u64s even0 = ((kiln__u64s)c0 & low) * 0xD2511F53u, odd0 = ((kiln__u64s)c0 >> 32) * 0xD2511F53u;
    kiln__u64s even1 = ((kiln__u64s)c2 & low) * 0xCD9E8D57u, odd1 = ((kiln__u64s)c2 >> 32) * 0xCD9E8D57u;
    c0 = (kiln__u32s)(even1 >> 32 | (odd1 & high)) ^ c1 ^ k0;
    c1 = (kiln__u32s)((even1 & low) | odd1 << 32);
    c2 = (kiln__u32s)(even0 >> 32 | (odd0 & high)) ^ c3 ^ k1;
    c3 = (kiln__u32s)((even0 & low) | odd0 << 32);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  // Word j of counter i goes to out[4 i + j]: a transposition, of single words and then of pairs.
  kiln__u64s low01 = (kiln__u64s)__builtin_shufflevector(c0, c1, 0, 8, 1, 9, 4, 12, 5, 13);
  kiln__u64s high01 = (kiln__u64s)__builtin_shufflevector(c0, c1, 2, 10, 3, 11, 6, 14, 7, 15);
  kiln__u64s low23 = (kiln__u64s)__builtin_shufflevector(c2, c3, 0, 8, 1, 9, 4, 12, 5, 13);
  kiln__u64s high23 = (kiln__u64s)__builtin_shufflevector(c2, c3, 2, 10, 3, 11, 6, 14, 7, 15);
  kiln__u64s words[4] = {__builtin_shufflevector(low01, low23, 0, 4, 1, 5),
                         __builtin_shufflevector(high01, high23, 0, 4, 1, 5),
                         __builtin_shufflevector(low01, low23, 2, 6, 3, 7),
                         __builtin_shufflevector(high01, high23, 2, 6, 3, 7)};
  memcpy(out, words, sizeof words);
}

// The random numbers of one (seed, step, site), as random.h has them: counter[0] is left open for the element.
typedef struct kiln__random { uint32_t key[2], counter[4]; } kiln__random;

static inline kiln__random kiln__random_of(uint64_t seed, uint64_t step, uint32_t site) {
  return (kiln__random){{(uint32_t)seed, (uint32_t)(seed >> 32)}, {0, site, (uint32_t)step, (uint32_t)(step >> 32)}};
}

// The words of KILN_PHILOX_WORDS elements, of which the first is a multiple of 4.
static inline __attribute__((always_inline)) void kiln__random_run(uint32_t out[KILN_PHILOX_WORDS],
                                                                   const kiln__random *random, int64_t first) {
  uint32_t counter[4];
  memcpy(counter, random->counter, sizeof counter);
  counter[0] = (uint32_t)(first / 4);
  kiln__philox(out, counter, random->key);
}

// What a buffer for the words of n elements holds: whole runs of the generator, begun at a multiple of 4.
#define KILN_RANDOM_BUFFER(n) ((n) + KILN_PHILOX_WORDS + 4)

// The words of the elements first ..< first + n, somewhere in the buffer.
static inline __attribute__((always_inline)) const uint32_t *kiln__random_words(uint32_t *buffer,
                                                                                const kiln__random *random,
                                                                                int64_t first, int64_t n) {
  int64_t before = first % 4;
  for (int64_t i = 0; i < before + n; i += KILN_PHILOX_WORDS) kiln__random_run(buffer + i, random, first - before + i);
  return buffer + before;
}

#endif
