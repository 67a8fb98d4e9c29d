/// What the machine can do at most: arithmetic as register loops, memory as streams over arrays far beyond the caches.
#ifndef KILN_BENCH_CEILINGS_H
#define KILN_BENCH_CEILINGS_H

#include <stdbool.h>
#include <stddef.h>

typedef enum ceiling_unit {
  CEILING_FMA = 0,    ///< fp32 fused multiply-adds in the widest registers
  CEILING_DPBF16 = 1, ///< vdpbf16ps: pairs of bf16 products added to fp32
  CEILING_DPBUSD = 2, ///< vpdpbusd: four products of 8-bit integers added to an int32
  CEILING_MADDWD = 3  ///< vpmaddwd and vpaddd in the widest registers: two products of 16-bit integers added to an int32
} ceiling_unit;

/// Runs 12 independent chains of the unit's instruction on `threads` threads (1 ... 256) at once for about `seconds`.
/// @return operations per second of all together, a multiply and an add counted each; 0 where the CPU lacks the unit
double ceiling_compute(ceiling_unit unit, int threads, double seconds);

typedef enum ceiling_pattern {
  CEILING_READ = 0,         ///< sum of x: 4 bytes an element
  CEILING_READ_STREAMS = 1, ///< the same from 8 places at once
  CEILING_TRIAD = 2,        ///< a = b + s c with non-temporal stores: 12 bytes an element
  CEILING_UPDATE = 3,       ///< x = s x in place: 8 bytes an element, read and written back
  CEILING_UPDATE_STREAMS = 4, ///< 4 arrays read, 3 of them written back (an optimizer's traffic): 28 bytes a quadruple
  CEILING_PATTERNS = 5
} ceiling_pattern;

/// Memory for the patterns. Its pages are first touched by the threads that use them.
typedef struct ceiling_memory ceiling_memory;

/// Takes `bytes` in 4 KiB pages, or in huge pages where the system gives them. NULL without memory or with a bad number
/// of threads. The caller ends it with `ceiling_memory_free`.
ceiling_memory *ceiling_memory_create(size_t bytes, bool huge, int threads);
void ceiling_memory_free(ceiling_memory *memory);

/// One pass of the pattern over the whole memory; the bytes per second that really moved.
double ceiling_bandwidth(ceiling_memory *memory, ceiling_pattern pattern);

/// An OpenCL device at its limits.
typedef struct ceiling_device ceiling_device;

/// Opens the device of an index, counted over all platforms in their order, with so many bytes of its memory. NULL where
/// there is none. The caller ends it with `ceiling_device_close`.
ceiling_device *ceiling_device_open(int index, size_t bytes);
void ceiling_device_close(ceiling_device *device);

/// Operations per second of chains of fp32 multiply-adds on all units, in a launch of about `seconds`; 0 on a failure.
double ceiling_device_compute(ceiling_device *device, double seconds);
/// Bytes per second of an update of all its memory in place, read and written back; 0 on a failure.
double ceiling_device_bandwidth(ceiling_device *device);

#endif
