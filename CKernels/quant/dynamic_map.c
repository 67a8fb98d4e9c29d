#include "core/internal.h"
#include "quant/dynamic_map.h"

#include "simd/half.h"

enum { BANDS = KILN_MAP_BANDS - 1 };  // and one of 1 alone

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

// Magnitudes between the first one of a band and the next band's: `parts` in `width`, beginning at `start`.
static void fill_band(kiln__dynamic_map *map, int band, int first, int parts, double start, double width) {
  const double scale = 1 << KILN_MAP_PLACES, slope = parts / width;
  map->next[band] = map->edge[first + parts - 1];
  map->factor[band] = (float)(scale * slope);
  map->offset[band] = (float)(scale * (first - start * slope));
  map->last[band] = (float)(scale * (first + parts - 0.5));
}

static void fill_bands(kiln__dynamic_map *map, bool is_signed) {
  int first = is_signed ? 1 : 2;  // parts of band 0, whose line begins at the edge of 0
  fill_band(map, 0, 1, first, map->edge[0], first * ((double)map->edge[1] - map->edge[0]));
  double start = 1e-6;
  for (int band = 1, k = 1 + first; band < BANDS; band++, start *= 10) {
    int parts = first << band;
    fill_band(map, band, k, parts, start, 9 * start);
    k += parts;
  }
  fill_band(map, BANDS, 255 - map->zero, 1, 0, 2);  // half a step at 1, far from both ends
}

// What finds the nearest of the map's numbers.
static void fill_edges(kiln__dynamic_map *map) {
  int largest = 255 - map->zero;
  for (int i = 0; i < largest; i++) map->edge[i] = midpoint(map->value[map->zero + i], map->value[map->zero + i + 1]);
  for (int i = largest; i < 257; i++) map->edge[i] = INFINITY;
}

void kiln__dynamic_map_make(kiln__dynamic_map *map, kiln__map_kind kind) {
  if (kind == KILN_MAP_LINEAR) {
    map->zero = map->most = 0;
    for (int k = 0; k < 256; k++) map->value[k] = (float)k / 255;
    fill_edges(map);
    for (int band = 0; band < KILN_MAP_BANDS; band++) fill_band(map, band, 0, 256, -0.5 / 255, 256.0 / 255);
  } else {
    map->zero = kind == KILN_MAP_SIGNED ? 127 : 0;
    fill_values(map, kind == KILN_MAP_SIGNED);
    fill_edges(map);
    fill_bands(map, kind == KILN_MAP_SIGNED);
  }
}
