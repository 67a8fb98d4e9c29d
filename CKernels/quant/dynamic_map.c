#include "core/internal.h"
#include "quant/dynamic_map.h"

#include "simd/half.h"

enum { BANDS = 7 };

// The k-th of n + 1 numbers from 0.1 to 1, as torch.linspace rounds them: by one multiply-add from the nearer end.
static float part(int k, int n) {
  double step = (1 - 0.1f) / (float)n;
  return (float)(k < (n + 1) / 2 ? (double)0.1f + step * k : 1 - step * (n - k));
}

// The smallest fp32 that is no nearer to a than to b.
static float midpoint(float a, float b) {
  double exact = ((double)a + b) / 2;
  float nearest = (float)exact;
  return nearest < exact ? nextafterf(nearest, INFINITY) : nearest;
}

static void fill_values(kiln__dynamic_map *map, bool is_signed) {
  static const float power[BANDS] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1};
  int k = 0;
  map->value[map->zero] = 0;
  for (int band = 0; band < BANDS; band++) {
    int parts = is_signed ? 1 << band : 2 << band;
    for (int i = 0; i < parts; i++) {
      float value = (part(i, parts) + part(i + 1, parts)) / 2 * power[band];
      k++;
      map->value[map->zero + k] = value;
      if (is_signed) map->value[map->zero - k] = -value;
    }
  }
  map->most = is_signed ? k : 0;
  map->value[255] = 1;
}

// What finds the nearest of the map's numbers.
static void fill_edges(kiln__dynamic_map *map) {
  int largest = 255 - map->zero, k = 0;
  for (int i = 0; i < largest; i++) map->edge[i] = midpoint(map->value[map->zero + i], map->value[map->zero + i + 1]);
  for (int i = largest; i < 257; i++) map->edge[i] = INFINITY;
  for (int bucket = 0; bucket < KILN_MAP_BUCKETS; bucket++) {
    float start = bucket == 0 ? 0 : kiln__f32_from_bits((uint32_t)(bucket + KILN_MAP_LOW) << 16);
    while (start >= map->edge[k]) k++;
    map->first[bucket] = (uint8_t)k;
  }
}

void kiln__dynamic_map_make(kiln__dynamic_map *map, kiln__map_kind kind) {
  if (kind == KILN_MAP_LINEAR) {
    map->zero = map->most = 0;
    for (int k = 0; k < 256; k++) map->value[k] = (float)k / 255;
  } else {
    map->zero = kind == KILN_MAP_SIGNED ? 127 : 0;
    fill_values(map, kind == KILN_MAP_SIGNED);
  }
  fill_edges(map);
}
