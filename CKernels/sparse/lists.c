// A sparse matrix, or its transpose, regrouped as the kernels go through it.
//
// All cuts follow from the pattern: parts are rows of blocks, and where these are steps of k, as in the transpose, whole
// chunks of them, so that no two parts meet in a chunk of a group.
#include "sparse/sparse.h"

enum {
  PART = 64,          // rows of blocks laid out at once
  FILL = 1 << 14,     // values filled at once
};

typedef struct layout_task {
  const kiln__sparse *w;
  bool transposed;
  int64_t rows, per_block;   // rows of a group, and groups of a block
  int64_t span, depth;       // of a block: rows that are grouped, steps of k
  int64_t groups, chunk, part;
  int64_t *starts;
  int32_t *cursor, *steps, *source;
} layout_task;

// Calls for every entry: block e in row of blocks r, group s of the block.
#define FOR_EACH_ENTRY(t, part)                                                                            \
  for (int64_t r = (part) * (t)->part, r_end = kiln__min(r + (t)->part, (t)->w->row_blocks); r < r_end; r++) \
    for (int64_t e = kiln__sparse_begin((t)->w, r), e_end = kiln__sparse_begin((t)->w, r + 1); e < e_end; e++) \
      for (int64_t s = 0; s < (t)->per_block; s++)

typedef struct place { int64_t cell, step; } place;

static place place_of(const layout_task *t, int64_t r, int64_t e, int64_t s) {
  int64_t column = kiln__sparse_column(t->w, r, e);
  int64_t step = (t->transposed ? r : column) * t->depth, block = t->transposed ? column : r;
  return (place){step / t->chunk * t->groups + block * t->per_block + s, step};
}

static void count_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const layout_task *t = arg;
  FOR_EACH_ENTRY(t, part) t->cursor[place_of(t, r, e, s).cell]++;
}

static void place_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const layout_task *t = arg;
  int64_t area = t->span * t->depth;
  FOR_EACH_ENTRY(t, part) {
    place p = place_of(t, r, e, s);
    int64_t entry = t->starts[p.cell] + t->cursor[p.cell]++;
    t->steps[entry] = (int32_t)p.step;
    t->source[entry] = (int32_t)(e * area + s * t->rows * (t->transposed ? 1 : t->depth));
  }
}

kiln_status kiln__sparse_lay_out(kiln_context *ctx, const kiln__sparse *w, bool transposed,
                                 const kiln__sparse_chunks *chunk, kiln__sparse_layout *out) {
  layout_task t = {.w = w, .transposed = transposed, .span = transposed ? w->block_cols : w->block_rows,
                   .depth = transposed ? w->block_rows : w->block_cols};
  t.rows = t.span % KILN_SPARSE_WIDE == 0 ? KILN_SPARSE_WIDE : t.span % KILN_SPARSE_ROWS == 0 ? KILN_SPARSE_ROWS : 1;
  t.per_block = t.span / t.rows;
  int64_t most = t.rows == 1 ? chunk->of_row : t.rows == KILN_SPARSE_ROWS ? chunk->of_rows : INT32_MAX;
  int64_t all = (transposed ? w->row_blocks : w->col_blocks) * t.depth;
  t.chunk = kiln__max(1, kiln__min(most, all) / t.depth) * t.depth;
  t.part = transposed ? t.chunk / t.depth : PART;
  t.groups = (transposed ? w->col_blocks : w->row_blocks) * t.per_block;
  int64_t steps = transposed ? w->rows : w->cols, chunks = kiln__ceil_div(steps, t.chunk);
  int64_t cells = chunks * t.groups, entries = w->count * t.per_block;
  KILN_TRY(kiln__scratch(ctx, (size_t)(cells + 1) * sizeof *t.starts, (void **)&t.starts));
  KILN_TRY(kiln__scratch(ctx, (size_t)cells * sizeof *t.cursor, (void **)&t.cursor));
  KILN_TRY(kiln__scratch(ctx, (size_t)entries * sizeof *t.steps, (void **)&t.steps));
  KILN_TRY(kiln__scratch(ctx, (size_t)entries * sizeof *t.source, (void **)&t.source));
  *out = (kiln__sparse_layout){
      .lists = {.rows = (int32_t)t.rows, .depth = t.depth, .groups = t.groups, .chunks = chunks, .chunk = t.chunk,
                .entries = entries, .starts = t.starts, .steps = t.steps},
      .row_stride = transposed ? 1 : t.depth, .step_stride = transposed ? t.span : 1, .source = t.source};
  if (ctx->query) return KILN_OK;
  int64_t parts = kiln__ceil_div(w->row_blocks, t.part);
  memset(t.cursor, 0, (size_t)cells * sizeof *t.cursor);
  kiln__parallel_for(ctx, parts, count_part, &t);
  t.starts[0] = 0;
  for (int64_t cell = 0; cell < cells; cell++) t.starts[cell + 1] = t.starts[cell] + t.cursor[cell];
  memset(t.cursor, 0, (size_t)cells * sizeof *t.cursor);
  kiln__parallel_for(ctx, parts, place_part, &t);
  return KILN_OK;
}

typedef struct fill_task {
  const kiln__sparse_layout *layout;
  kiln_dtype dtype;
  const void *from;
  float *to;
  int64_t each;
} fill_task;

static void fill_part(void *arg, int64_t part, int thread) {
  (void)thread;
  const fill_task *t = arg;
  const kiln__sparse_layout *l = t->layout;
  int64_t begin = part * t->each, end = kiln__min(begin + t->each, l->lists.entries);
  float *to = t->to + begin * l->lists.depth * l->lists.rows;
  for (int64_t e = begin; e < end; e++) {
    for (int64_t step = 0; step < l->lists.depth; step++) {
      for (int64_t row = 0; row < l->lists.rows; row++) {
        *to++ = (float)kiln__sparse_real(t->dtype, t->from, l->source[e] + row * l->row_stride + step * l->step_stride);
      }
    }
  }
}

kiln_status kiln__sparse_fill(kiln_context *ctx, kiln__sparse_layout *layout, kiln_dtype dtype, const void *values) {
  int64_t entry = layout->lists.depth * layout->lists.rows, count = layout->lists.entries * entry;
  fill_task t = {.layout = layout, .dtype = dtype, .from = values, .each = kiln__max(1, FILL / entry)};
  KILN_TRY(kiln__scratch(ctx, (size_t)count * sizeof *t.to, (void **)&t.to));
  layout->lists.values = t.to;
  if (ctx->query) return KILN_OK;
  kiln__parallel_for(ctx, kiln__ceil_div(layout->lists.entries, t.each), fill_part, &t);
  return KILN_OK;
}
