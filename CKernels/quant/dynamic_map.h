// The dynamic map of 8-bit states (Dettmers et al., arXiv 2110.02861): 256 numbers of [-1, 1] or [0, 1] whose spacing
// grows with their size. Numbers of band i = 0 ... 6 are the midpoints of 2^i (signed) or 2^(i+1) (unsigned) equal parts
// of [0.1, 1], times 10^(i-6), signed ones with their negatives; then 0 and 1. So there is no -1.
#ifndef KILN_DYNAMIC_MAP_H
#define KILN_DYNAMIC_MAP_H

#include <stdbool.h>
#include <stdint.h>

enum { KILN_MAP_BANDS = 8, KILN_MAP_PLACES = 12 };

typedef struct kiln__dynamic_map {
  float value[256];  // by code, ascending
  int32_t zero;      // the code of 0; that of the k-th magnitude is zero + k, or zero - k for its negative
  int32_t most;      // the largest k of a negative number
  float edge[257];   // numbers from edge[k] on are at least as near to magnitude k + 1 as to magnitude k
  // For vectors, by band: where the next one begins; and factor x + offset, but at most last, which is 2^KILN_MAP_PLACES
  // times the nearest magnitude and a fraction. Edges lie at integers, beside which rounded arithmetic may be wrong.
  float next[KILN_MAP_BANDS], factor[KILN_MAP_BANDS], offset[KILN_MAP_BANDS], last[KILN_MAP_BANDS];
} kiln__dynamic_map;

// The first two bit for bit the maps of bitsandbytes and torchao; in the unsigned one's place one of equal steps: k / 255.
typedef enum kiln__map_kind { KILN_MAP_UNSIGNED, KILN_MAP_SIGNED, KILN_MAP_LINEAR } kiln__map_kind;
void kiln__dynamic_map_make(kiln__dynamic_map *map, kiln__map_kind kind);

#endif
