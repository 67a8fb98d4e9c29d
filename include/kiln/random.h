/// Random numbers as functions, never streams: Philox4x32-10 (Salmon et al. 2011) of (seed, step, site, element).
#ifndef KILN_RANDOM_H
#define KILN_RANDOM_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kiln_random_options {
  uint32_t size;
  uint32_t site;   ///< which use of random numbers this is
  uint64_t seed;
  uint64_t step;
} kiln_random_options;

static inline kiln_random_options kiln_random_defaults(void) {
  kiln_random_options o = {(uint32_t)sizeof(kiln_random_options), 0, 0, 0};
  return o;
}

/// The four words of Philox4x32-10 for `counter` and `key`; the generator's published test vectors apply.
KILN_API void kiln_philox4x32(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/// y uniform in [low, high). y dense, F32 or F64. Element i uses word i % 4 of the counter
/// (low half of i/4, site, low and high half of step) under the key (low and high half of seed): u = its 24 high bits
/// / 2^24 for F32, all 32 bits / 2^32 for F64, and y = low + (high - low) u to the nearest element of [low, high).
/// @return KILN_ERR_OPTION unless low < high and high - low is finite
KILN_API kiln_status kiln_random_uniform(kiln_context *ctx, const kiln_tensor *y, double low, double high,
                                         const kiln_random_options *options);

/// y normal with the given mean and standard deviation. y dense, F32 or F64. Box-Muller in fp64: from the words w0, w1
/// of elements 2j, 2j+1 as above, r = sqrt(-2 ln((w0 + 1/2) / 2^32)), a = 2 pi w1 / 2^32 give mean + std r (cos a, sin a).
/// @return KILN_ERR_OPTION if mean or std is not finite, or std < 0
KILN_API kiln_status kiln_random_normal(kiln_context *ctx, const kiln_tensor *y, double mean, double std,
                                        const kiln_random_options *options);

#ifdef __cplusplus
}
#endif
#endif
