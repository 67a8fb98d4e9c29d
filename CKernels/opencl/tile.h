// Tiles of sums in which a device multiplies matrices: a small table, by class of device, and what `kiln tune` keeps.
#ifndef KILN_OPENCL_TILE_H
#define KILN_OPENCL_TILE_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

// A tile of `rows` x `columns` sums belongs to one item, in vectors of `lanes`; or to a group of `items` x `items`.
// `depth` of k are in local memory.
typedef struct kiln__cl_tile {
  const char *name;
  int32_t rows, columns, lanes, items, depth;
} kiln__cl_tile;

// Of a, so many are packed at a time for the tiles of CPUs.
enum { KILN_CL_BLOCK_ROWS = 768 };

// NULL beyond the table, or for a name that is not in it.
const kiln__cl_tile *kiln__cl_tile_at(int32_t index);
const kiln__cl_tile *kiln__cl_tile_named(const char *name);

// What a device takes that was never tuned: by whether it is a CPU, its vectors' width, and how large a group may be.
const kiln__cl_tile *kiln__cl_tile_of_class(int is_cpu, uint32_t vector_width, size_t largest_group);

// How a program for a tile is compiled; returns what snprintf would.
int kiln__cl_tile_options(const kiln__cl_tile *tile, char *text, size_t size);

#pragma GCC visibility pop
#endif
