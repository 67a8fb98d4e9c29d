// The only place that knows threads.
#ifndef KILN_PARALLEL_H
#define KILN_PARALLEL_H

#include "core/internal.h"

#pragma GCC visibility push(hidden)

// `chunk` says what to do; `thread` (below the context's count) only where scratch of its own lies. The chunks are cut
// by the shape of the work alone, so results cannot depend on which thread takes which.
typedef void (*kiln__body)(void *arg, int64_t chunk, int thread);

// Runs body(arg, c, ...) for each c in 0 ..< chunks, in any order, on the context's threads; returns when all are done.
void kiln__parallel_for(const kiln_context *ctx, int64_t chunks, kiln__body body, void *arg);

// Rows per chunk so that a chunk has at least 16 Ki elements: enough to pay for handing it out.
static inline int64_t kiln__rows_per_chunk(int64_t cols) {
  return kiln__max(1, kiln__ceil_div(16384, kiln__max(cols, 1)));
}

#pragma GCC visibility pop
#endif
