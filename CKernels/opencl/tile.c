#include "opencl/tile.h"

#include <stdio.h>
#include <string.h>

static const kiln__cl_tile tiles[] = {
    // In registers, for CPUs: as many vectors of sums as hide the latency of a multiply-add.
    {"6x8", 6, 8, 4, 0, 0},
    {"6x16", 6, 16, 8, 0, 0},
    {"12x32", 12, 32, 16, 0, 0},
    // Through local memory, for GPUs.
    {"32x32/8", 32, 32, 0, 8, 16},
    {"64x64/16", 64, 64, 0, 16, 16},
    {"128x64/16", 128, 64, 0, 16, 16},
    {"128x128/16", 128, 128, 0, 16, 8},
};
enum { TILES = sizeof tiles / sizeof *tiles };

const kiln__cl_tile *kiln__cl_tile_at(int32_t index) { return index >= 0 && index < TILES ? &tiles[index] : NULL; }

const kiln__cl_tile *kiln__cl_tile_named(const char *name) {
  for (int i = 0; i < TILES; i++) {
    if (strcmp(tiles[i].name, name) == 0) return &tiles[i];
  }
  return NULL;
}

const kiln__cl_tile *kiln__cl_tile_of_class(int is_cpu, uint32_t vector_width, size_t largest_group) {
  if (is_cpu) return kiln__cl_tile_named(vector_width >= 16 ? "12x32" : vector_width >= 8 ? "6x16" : "6x8");
  return kiln__cl_tile_named(largest_group >= 256 ? "64x64/16" : "32x32/8");
}

int kiln__cl_tile_options(const kiln__cl_tile *tile, char *text, size_t size) {
  if (tile->items == 0) return snprintf(text, size, " -DMR=%d -DLANES=%d", tile->rows, tile->lanes);
  return snprintf(text, size, " -DMR=%d -DNR=%d -DITEMS=%d -DDEPTH=%d", tile->rows, tile->columns, tile->items,
                  tile->depth);
}
