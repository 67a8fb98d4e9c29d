// Merging the dimensions of views and handing out spans of them.
#include "elementwise/spans.h"

#include <stdatomic.h>

// Whether dimension d continues the dimension `outer`, the last one kept, in every view.
static bool continues(const kiln__spans *s, int outer, const kiln_tensor *const *views, int d) {
  for (int v = 0; v < s->views; v++) {
    if (views[v] && s->strides[v][outer] != views[v]->strides[d] * views[v]->shape[d]) return false;
  }
  return true;
}

static void append(kiln__spans *s, int64_t extent, const kiln_tensor *const *views, int d) {
  s->shape[s->rank] = extent;
  for (int v = 0; v < s->views; v++) s->strides[v][s->rank] = views && views[v] ? views[v]->strides[d] : 1;
  s->rank++;
}

kiln__spans kiln__spans_strided(const kiln_tensor *const *views, int count) {
  kiln__spans s = {.views = count};
  for (int v = 0; v < count; v++) {
    s.data[v] = kiln__data(views[v]);
    s.item[v] = views[v] ? (int64_t)kiln_dtype_size(views[v]->dtype) : 0;
  }
  for (int d = 0; d < views[0]->rank; d++) {
    int64_t extent = views[0]->shape[d];
    if (extent == 1) continue;
    if (s.rank > 0 && continues(&s, s.rank - 1, views, d)) {
      s.rank--;
      extent *= s.shape[s.rank];
    }
    append(&s, extent, views, d);
  }
  if (s.rank == 0) append(&s, 1, NULL, 0);
  return s;
}

kiln_status kiln__spans_rows(kiln_context *ctx, const char *const *names, const kiln_tensor *const *views, int count,
                             kiln__spans *out) {
  *out = kiln__spans_strided(views, count);
  bool unit = true;
  for (int v = 0; v < count; v++) {
    kiln__rows rows;
    KILN_TRY(kiln__fold(ctx, names[v], views[v], &rows));
    if (views[v] && out->strides[v][out->rank - 1] != 1) unit = false;
  }
  if (!unit) append(out, 1, NULL, 0);  // a last dimension of one element, whose stride says nothing, was dropped
  return KILN_OK;
}

void kiln__spans_stream(kiln__spans *s, int outputs) {
  int64_t count = 1;
  for (int d = 0; d < s->rank; d++) count *= s->shape[d];
  for (int v = 0; v < outputs; v++) {
    if (count * s->item[v] < KILN_STREAM_BYTES || s->strides[v][s->rank - 1] != 1) return;
    for (int u = outputs; u < s->views; u++) {
      if (s->data[u] == s->data[v]) return;
    }
  }
  s->streamed = outputs;
}

enum { STREAM_BLOCK = 1024, STREAM_VIEWS = 2 };

typedef struct span_task {
  const kiln__spans *spans;
  const kiln__elementwise_kernels *kernels;
  kiln__span_body body;
  void *arg;
  int64_t rows;            // all dimensions but the last
  int64_t rows_per_chunk;  // either a chunk is several rows,
  int64_t parts;           // or a row is several chunks
} span_task;

// A block at a time goes through a buffer in the first cache.
static void run_streamed(const span_task *t, void *const *p, int64_t first, int64_t n) {
  const kiln__spans *s = t->spans;
  _Alignas(KILN_ALIGNMENT) char buffer[STREAM_VIEWS][STREAM_BLOCK * sizeof(double)];
  for (int64_t i = 0; i < n; i += STREAM_BLOCK) {
    int64_t count = kiln__min(STREAM_BLOCK, n - i);
    void *q[KILN_SPAN_VIEWS];
    for (int v = 0; v < s->views; v++) {
      q[v] = v < s->streamed ? buffer[v] : (char *)p[v] + i * s->strides[v][s->rank - 1] * s->item[v];
    }
    t->body(t->arg, q, first + i, count);
    for (int v = 0; v < s->streamed; v++) {
      t->kernels->stream((char *)p[v] + i * s->item[v], buffer[v], count * s->item[v]);
    }
  }
  atomic_thread_fence(memory_order_seq_cst);
}

static void run_row(const span_task *t, int64_t row, int64_t from, int64_t to) {
  const kiln__spans *s = t->spans;
  int last = s->rank - 1;
  int64_t at[KILN_SPAN_VIEWS], left = row;
  for (int v = 0; v < s->views; v++) at[v] = from * s->strides[v][last];
  for (int d = last - 1; d >= 0; d--) {
    for (int v = 0; v < s->views; v++) at[v] += left % s->shape[d] * s->strides[v][d];
    left /= s->shape[d];
  }
  void *p[KILN_SPAN_VIEWS];
  for (int v = 0; v < s->views; v++) p[v] = s->data[v] ? s->data[v] + at[v] * s->item[v] : NULL;
  int64_t first = row * s->shape[last] + from;
  if (s->streamed) run_streamed(t, p, first, to - from);
  else t->body(t->arg, p, first, to - from);
}

static void span_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const span_task *t = arg;
  int64_t cols = t->spans->shape[t->spans->rank - 1];
  int64_t begin = chunk / t->parts * t->rows_per_chunk, from = chunk % t->parts * KILN_SPAN_ELEMENTS;
  int64_t end = kiln__min(begin + t->rows_per_chunk, t->rows), to = t->parts == 1 ? cols : from + KILN_SPAN_ELEMENTS;
  for (int64_t row = begin; row < end; row++) run_row(t, row, from, kiln__min(to, cols));
}

void kiln__for_spans(const kiln_context *ctx, const kiln__spans *spans, kiln__span_body body, void *arg) {
  int64_t cols = spans->shape[spans->rank - 1], rows = 1;
  for (int d = 0; d < spans->rank - 1; d++) rows *= spans->shape[d];
  if (rows == 0 || cols == 0) return;
  span_task t = {spans, ctx->kernels[KILN_F32].elementwise, body, arg, rows, kiln__rows_per_chunk(cols),
                 kiln__ceil_div(cols, KILN_SPAN_ELEMENTS)};
  kiln__parallel_for(ctx, kiln__ceil_div(rows, t.rows_per_chunk) * t.parts, span_chunk, &t);
}
