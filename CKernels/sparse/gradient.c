// The gradient of a sparse matrix where it is kept. The rows of x and dy go by in pieces of a few panels, which all
// threads transpose; then each takes groups of W's rows, chunk of k by chunk of k, so that panels stay in its caches.
#include "sparse/sparse.h"

// Times the panels in one sum: what stays in the first cache for single rows, else in the second.
static const kiln__sparse_chunks chunks = {48, 128};

enum {
  PANELS = 8,    // of x and dy in a piece, and in one sum
  PANELS_OF_ROW = 2,  // in one sum of a single row
  GROUPS = 64,   // rows of W in a part
};

typedef struct gradient_task {
  const kiln__sparse *w;
  const kiln__sparse_kernels *kernels;
  kiln__sparse_layout layout;
  kiln__rows x, dy;
  kiln_dtype dtype;
  int64_t item, x_floats, dy_floats;  // bytes of an element; floats of a panel
  int64_t piece, panels;              // the piece, and panels in it
  float *x_panels, *dy_panels, *gradients, *to;
  bool accumulate;
} gradient_task;

static void pack_panel(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const gradient_task *t = arg;
  int64_t width = t->kernels->width, panel = chunk / 2, begin = (t->piece * PANELS + panel) * width;
  const kiln__rows *from = chunk % 2 ? &t->dy : &t->x;
  int64_t floats = chunk % 2 ? t->dy_floats : t->x_floats;
  float *to = (chunk % 2 ? t->dy_panels : t->x_panels) + panel * floats;
  t->kernels->pack(to, (const char *)from->data + begin * from->stride * t->item, from->stride,
                   kiln__min(width, from->rows - begin), from->cols, floats / width);
}

static void gradient_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const gradient_task *t = arg;
  const kiln__sparse_lists *l = &t->layout.lists;
  int64_t groups = GROUPS / l->rows;
  kiln__sparse_part p = {0, part * groups, kiln__min((part + 1) * groups, l->groups)};
  int64_t each = l->rows == 1 ? PANELS_OF_ROW : PANELS;
  for (p.chunk = 0; p.chunk < l->chunks; p.chunk++) {
    for (int64_t panel = 0; panel < t->panels; panel += each) {
      int64_t count = kiln__min(each, t->panels - panel);
      kiln__sparse_panels x = {t->x_panels + panel * t->x_floats, t->x_floats, count};
      kiln__sparse_panels dy = {t->dy_panels + panel * t->dy_floats, t->dy_floats, count};
      t->kernels->gradient(t->gradients, &x, &dy, l, &p);
    }
  }
}

// From the order of the lists to that of the values; what hangs over the edges is 0.
static void store_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const gradient_task *t = arg;
  const kiln__sparse_layout *layout = &t->layout;
  const kiln__sparse_lists *l = &layout->lists;
  int64_t groups = GROUPS / l->rows, end = kiln__min((part + 1) * groups, l->groups);
  for (int64_t cell = 0; cell < l->chunks * (end - part * groups); cell++) {
    int64_t g = part * groups + cell / l->chunks;
    const int64_t *start = l->starts + cell % l->chunks * l->groups + g;
    for (int64_t e = start[0]; e < start[1]; e++) {
      for (int64_t i = 0; i < l->depth * l->rows; i++) {
        int64_t row = i % l->rows, step = i / l->rows;
        bool inside = g * l->rows + row < t->w->rows && l->steps[e] + step < t->w->cols;
        float *to = t->to + layout->source[e] + row * layout->row_stride + step * layout->step_stride;
        float v = inside ? t->gradients[e * l->depth * l->rows + i] : 0;
        *to = t->accumulate ? *to + v : v;
      }
    }
  }
}

static kiln_status run(kiln_context *ctx, gradient_task *t) {
  KILN_TRY(kiln__sparse_lay_out(ctx, t->w, false, &chunks, &t->layout));
  const kiln__sparse_lists *l = &t->layout.lists;
  int64_t width = t->kernels->width, values = l->entries * l->depth * l->rows;
  KILN_TRY(kiln__scratch(ctx, (size_t)values * sizeof(float), (void **)&t->gradients));
  if (!ctx->query) memset(t->gradients, 0, (size_t)values * sizeof(float));
  int64_t parts = kiln__ceil_div(l->groups, GROUPS / l->rows);
  if (l->rows == KILN_SPARSE_WIDE) {
    KILN_TRY(kiln__sparse_block_gradient(ctx, t->dtype, &t->x, &t->dy, l, t->gradients));
    if (!ctx->query) kiln__parallel_for(ctx, parts, store_part, t);
    return KILN_OK;
  }
  t->x_floats = t->w->col_blocks * t->w->block_cols * width;
  t->dy_floats = t->w->row_blocks * t->w->block_rows * width;
  KILN_TRY(kiln__scratch(ctx, (size_t)(PANELS * t->x_floats) * sizeof(float), (void **)&t->x_panels));
  KILN_TRY(kiln__scratch(ctx, (size_t)(PANELS * t->dy_floats) * sizeof(float), (void **)&t->dy_panels));
  if (ctx->query) return KILN_OK;
  int64_t panels = kiln__ceil_div(t->x.rows, width);
  for (t->piece = 0; t->piece * PANELS < panels; t->piece++) {
    t->panels = kiln__min(PANELS, panels - t->piece * PANELS);
    kiln__parallel_for(ctx, 2 * t->panels, pack_panel, t);
    kiln__parallel_for(ctx, parts, gradient_part, t);
  }
  kiln__parallel_for(ctx, parts, store_part, t);
  return KILN_OK;
}

kiln_status kiln_sparse_gradient(kiln_context *ctx, const kiln_tensor *dvalues, const kiln_tensor *dy,
                                 const kiln_tensor *x, const kiln_sparse *w,
                                 const kiln_sparse_gradient_options *options) {
  KILN_TRY(kiln__begin(ctx, "sparse_gradient"));
  kiln_sparse_gradient_options o = kiln_sparse_gradient_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  kiln__sparse view;
  gradient_task t = {.w = &view, .accumulate = o.accumulate};
  KILN_TRY(kiln__check_real(ctx, "x", x, &t.dtype));
  KILN_TRY(kiln__check_dtype(ctx, "dy", dy, t.dtype));
  KILN_TRY(kiln__sparse_view(ctx, w, "dvalues", dvalues, kiln__wide(t.dtype), &view));
  KILN_TRY(kiln__fold(ctx, "x", x, &t.x));
  KILN_TRY(kiln__fold(ctx, "dy", dy, &t.dy));
  if (t.x.cols != view.cols || t.dy.cols != view.rows || t.x.rows != t.dy.rows) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "x is %s and dy %s for a sparse matrix of %lld x %lld",
                      kiln__shape_text(x).s, kiln__shape_text(dy).s, (long long)view.rows, (long long)view.cols);
  }
  if (view.count == 0) return KILN_OK;
  t.to = kiln__data(dvalues);
  t.item = (int64_t)kiln_dtype_size(t.dtype);
  t.kernels = ctx->kernels[t.dtype].sparse;
  if (t.kernels->gradient_groups && kiln__sparse_is_in_fours(&view)) {
    return kiln__sparse_group_gradient(ctx, &view, t.dtype, &t.x, &t.dy, t.to, t.accumulate);
  }
  if (!t.kernels->plain) return run(ctx, &t);
  kiln__sparse_gradient_args a = {t.to, t.dy.data, t.x.data, t.x.rows, t.dy.stride, t.x.stride, &view, o.accumulate};
  if (!ctx->query) t.kernels->plain(&a);
  return KILN_OK;
}
