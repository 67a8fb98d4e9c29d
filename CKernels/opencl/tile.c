#include "opencl/cache.h"

#include <stdio.h>

static const kiln__cl_tile tiles[] = {
    // In registers, for CPUs: as many vectors of sums as hide the latency of a multiply-add.
    {"6x8", 6, 8, 4, 0, 256},
    {"6x16", 6, 16, 8, 0, 256},
    {"12x32", 12, 32, 16, 0, 256},
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
  if (tile->items == 0) {
    return snprintf(text, size, " -DMR=%d -DLANES=%d -DDEPTH=%d -DSTRIPS=%d", tile->rows, tile->lanes, tile->depth,
                    KILN_CL_BLOCK_ROWS / tile->rows);
  }
  return snprintf(text, size, " -DMR=%d -DNR=%d -DITEMS=%d -DDEPTH=%d", tile->rows, tile->columns, tile->items,
                  tile->depth);
}

// A file with its name.
static const char tile_suffix[] = ".txt";

const kiln__cl_tile *kiln__cl_kept_tile(const kiln__cl *cl) {
  char path[KILN_CL_FILE], name[32] = "";
  if (!kiln__cl_file(cl, "tile", KILN_CL_BASIS, path)) return NULL;
  strcat(path, tile_suffix);
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  size_t length = fread(name, 1, sizeof name - 1, file);
  fclose(file);
  name[length] = 0;
  return kiln__cl_tile_named(name);
}

kiln_status kiln_device_keep_tile(kiln_context *ctx) {
  KILN_TRY(kiln__cl_begin(ctx, "device_keep_tile"));
  const char *name = ctx->cl->tile->name;
  char path[KILN_CL_FILE];
  bool kept = kiln__cl_file(ctx->cl, "tile", KILN_CL_BASIS, path) &&
              kiln__cl_keep(path, tile_suffix, NULL, 0, name, strlen(name));
  if (kept) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_DEVICE, "nothing can be kept in '%s': set KILN_CACHE to a folder that can be written",
                    ctx->cl->cache);
}

const char *kiln_context_tile(const kiln_context *ctx) { return ctx && ctx->cl ? ctx->cl->tile->name : ""; }

const char *kiln_opencl_tile(int32_t index) {
  const kiln__cl_tile *tile = kiln__cl_tile_at(index);
  return tile ? tile->name : NULL;
}
