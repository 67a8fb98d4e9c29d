// Files of the cache on disk: compiled programs, and the tile of a device.
#ifndef KILN_OPENCL_CACHE_H
#define KILN_OPENCL_CACHE_H

#include "opencl/device.h"

#pragma GCC visibility push(hidden)

enum { KILN_CL_FILE = KILN_CL_PATH + 128 };

// FNV-1a, from KILN_CL_BASIS on.
#define KILN_CL_BASIS 14695981039346656037u
uint64_t kiln__cl_mix(uint64_t hash, const void *bytes, size_t size);

// A file's path without its suffix: what it is for, and a number of all that its content depends on, the device
// included. False where no folder is known.
bool kiln__cl_file(const kiln__cl *cl, const char *what, uint64_t hash, char path[KILN_CL_FILE]);

// Writes two runs of bytes as a file, whole or not at all; whether it could. The first may be NULL.
bool kiln__cl_keep(const char *base, const char *suffix, const void *head, size_t head_size, const void *bytes,
                   size_t size);

#pragma GCC visibility pop
#endif
