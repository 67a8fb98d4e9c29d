// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): four words as a function of a
// counter and a key, here for KILN_PHILOX_LANES consecutive counters at a time, in vectors under any target.
#ifndef KILN_PHILOX_H
#define KILN_PHILOX_H

#include <stdint.h>
#include <string.h>

enum { KILN_PHILOX_LANES = 8, KILN_PHILOX_WORDS = 4 * KILN_PHILOX_LANES };

typedef uint32_t kiln__u32s __attribute__((ext_vector_type(KILN_PHILOX_LANES)));
typedef uint64_t kiln__u64s __attribute__((ext_vector_type(KILN_PHILOX_LANES)));

// The words of the counters whose first word is counter[0], counter[0] + 1 ..., in that order.
static inline __attribute__((always_inline)) void kiln__philox(uint32_t out[KILN_PHILOX_WORDS],
                                                               const uint32_t counter[4], const uint32_t key[2]) {
  kiln__u32s c0 = counter[0] + (kiln__u32s){0, 1, 2, 3, 4, 5, 6, 7}, c1 = counter[1], c2 = counter[2], c3 = counter[3];
  uint32_t k0 = key[0], k1 = key[1];
  for (int round = 0; round < 10; round++) {
    kiln__u64s p0 = __builtin_convertvector(c0, kiln__u64s) * 0xD2511F53u;
    kiln__u64s p1 = __builtin_convertvector(c2, kiln__u64s) * 0xCD9E8D57u;
    c0 = __builtin_convertvector(p1 >> 32, kiln__u32s) ^ c1 ^ k0;
    c1 = __builtin_convertvector(p1, kiln__u32s);
    c2 = __builtin_convertvector(p0 >> 32, kiln__u32s) ^ c3 ^ k1;
    c3 = __builtin_convertvector(p0, kiln__u32s);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  for (int lane = 0; lane < KILN_PHILOX_LANES; lane++) {
    out[4 * lane] = c0[lane];
    out[4 * lane + 1] = c1[lane];
    out[4 * lane + 2] = c2[lane];
    out[4 * lane + 3] = c3[lane];
  }
}

#endif
