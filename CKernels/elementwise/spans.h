// How elementwise work is cut for threads: by shape alone, into stretches of 16 Ki elements.
#ifndef KILN_SPANS_H
#define KILN_SPANS_H

#include "core/parallel.h"

#pragma GCC visibility push(hidden)

enum { KILN_SPAN_ELEMENTS = 16384, KILN_SPAN_VIEWS = 6 };

// Up to KILN_SPAN_VIEWS views of one shape, with the dimensions merged that lie one after the other in all of them.
typedef struct kiln__spans {
  int views, rank;
  int64_t shape[KILN_MAX_RANK + 1];
  char *data[KILN_SPAN_VIEWS];
  int64_t item[KILN_SPAN_VIEWS];                          // bytes of an element
  int64_t strides[KILN_SPAN_VIEWS][KILN_MAX_RANK + 1];    // elements; the last one is that within a span
  int streamed;                                           // views at the start that kiln__spans_stream has marked
} kiln__spans;

// What to do with n elements at p[0], p[1] ... (one address for each view; NULL for a NULL view). `first` is the
// row-major index of the first of them.
typedef void (*kiln__span_body)(void *arg, void *const *p, int64_t first, int64_t n);

// Any strides. The views are checked and of one shape; those after the first may be NULL.
kiln__spans kiln__spans_strided(const kiln_tensor *const *views, int count);

// As above, but within a span all strides are 1; fails with KILN_ERR_STRIDE if a view does not fold into rows.
// `names` is how the header calls the views.
kiln_status kiln__spans_rows(kiln_context *ctx, const char *const *names, const kiln_tensor *const *views, int count,
                             kiln__spans *out);

// From this size on an output that is none of the inputs is written past the cache: a store that goes through it reads
// the line first, and little of the output would be left in it for the next operation.
enum { KILN_STREAM_BYTES = 8 << 20 };

// For bodies that only write the first `outputs` views: has these written past the cache if they are all large, and
// none of the other views.
void kiln__spans_stream(kiln__spans *spans, int outputs);

// Calls `body` for every span, on the context's threads.
void kiln__for_spans(const kiln_context *ctx, const kiln__spans *spans, kiln__span_body body, void *arg);

// Columns in a strip of a matrix of `rows` rows, for work that goes down the columns: whole cache lines, and together
// at least 16 Ki elements.
static inline int64_t kiln__strip_columns(int64_t rows) {
  return kiln__max(128, kiln__round_up(kiln__ceil_div(KILN_SPAN_ELEMENTS, kiln__max(rows, 1)), 32));
}

#pragma GCC visibility pop
#endif
