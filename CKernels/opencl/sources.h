// The sources of the OpenCL programs, which are part of the library.
#ifndef KILN_OPENCL_SOURCES_H
#define KILN_OPENCL_SOURCES_H

#include "opencl/device.h"

#pragma GCC visibility push(hidden)

typedef struct kiln__cl_source {
  const char *name;
  const char *text;
  size_t length;
} kiln__cl_source;

// What comes before every program.
extern const kiln__cl_source kiln__cl_common;

extern const kiln__cl_source kiln__cl_sources[KILN_CL_FAMILIES];

#pragma GCC visibility pop
#endif
