// A product by blocks. c is cut into panels of PANEL_M x PANEL_N and k into runs of kc, PANEL_RUNS of which are packed
// at once; batches that are small share a panel. In each round the threads first pack the rows of a and the columns of
// b that the panel needs, each strip once, and then multiply: the panel is cut into parts of at most mc x nc, and one
// thread takes a part through all packed runs of k while its sums stay in the second cache.
// All cuts follow from the shape, so each element's sum has one order whatever the threads.
#include "gemm/gemm.h"

enum {
  PANEL_M = 1024, PANEL_N = 3072, PANEL_RUNS = 4,
  PARTS = 32,               // wanted of a panel, so that threads end together ...
  PART_WORK = 1 << 19,      // ... but not below so many multiply-adds a part
  PACK_ELEMENTS = 32768,    // packed by one chunk
};

typedef struct packed_task {
  const kiln__gemm_kernels *kernels;
  const kiln__gemm_args *args;
  // the plan
  int64_t kc, runs;                          // k is `runs` runs of kc, the last one maybe shorter
  int64_t panel_batches, panel_m, panel_n, panel_k;
  int64_t part_m, part_n;
  char *a, *b;                               // the packed panels
  float *sums;                               // [panel_batches, panel_m, panel_n] over the runs so far, if there are more
  // the round: batch, i, j, k of the panel and its extents
  kiln__gemm_part panel;
  int64_t batches, k, depth;
  bool pack_b;
} packed_task;

// Cuts `total` into equal blocks of at most `most`, rounded up to `unit`.
static int64_t block(int64_t total, int64_t most, int64_t unit) {
  return kiln__round_up(kiln__ceil_div(total, kiln__ceil_div(total, most)), unit);
}

static int64_t parts_of_panel(const packed_task *t) {
  return t->panel_batches * kiln__ceil_div(t->panel_m, t->part_m) * kiln__ceil_div(t->panel_n, t->part_n);
}

static void plan(packed_task *t) {
  const kiln__gemm_kernels *ker = t->kernels;
  const kiln__gemm_args *g = t->args;
  t->runs = kiln__ceil_div(g->k, ker->kc);
  t->kc = kiln__ceil_div(g->k, t->runs);
  t->panel_k = kiln__min(g->k, block(t->runs, PANEL_RUNS, 1) * t->kc);
  t->panel_m = block(g->m, PANEL_M, ker->mr);
  t->panel_n = block(g->n, PANEL_N, ker->nr);
  int64_t room = (PANEL_M + PANEL_N) * PANEL_RUNS * (int64_t)ker->kc;
  t->panel_batches = kiln__min(g->batches, kiln__max(1, room / ((t->panel_m + t->panel_n) * t->panel_k)));
  t->part_m = block(t->panel_m, ker->mc, ker->mr);
  t->part_n = block(t->panel_n, ker->nc, ker->nr);
  while (parts_of_panel(t) < PARTS && t->part_m * t->part_n * t->panel_k > PART_WORK) {
    if (t->part_n > 4 * ker->nr) t->part_n = kiln__round_up(t->part_n / 2, ker->nr);
    else if (t->part_m > 2 * ker->mr) t->part_m = kiln__round_up(t->part_m / 2, ker->mr);
    else break;
  }
}

// What one operand needs to be packed: strips of `width` of its `extent` rows (of a) or columns (of b), per batch.
typedef struct packing {
  kiln__gemm_pack *pack;
  char *to;
  const char *from;
  int64_t batch, across, along, extent, width;  // batch in bytes
} packing;

static int64_t strips_per_chunk(const packing *x, int64_t depth) {
  return kiln__max(1, PACK_ELEMENTS / (x->width * depth));
}

static int64_t chunks_per_batch(const packing *x, int64_t depth) {
  return kiln__ceil_div(kiln__ceil_div(x->extent, x->width), strips_per_chunk(x, depth));
}

static packing packing_of_a(const packed_task *t) {
  const kiln__matrix *a = &t->args->a;
  int64_t at = t->panel.batch * a->batch + t->panel.i * a->row + t->k * a->col, item = t->args->item;
  return (packing){t->kernels->pack_a, t->a, (const char *)a->data + at * item, a->batch * item, a->row, a->col, t->panel.rows, t->kernels->mr};
}

static packing packing_of_b(const packed_task *t) {
  const kiln__matrix *b = &t->args->b;
  int64_t at = t->panel.batch * b->batch + t->panel.j * b->col + t->k * b->row, item = t->args->item;
  return (packing){t->kernels->pack_b, t->b, (const char *)b->data + at * item, b->batch * item, b->col, b->row, t->panel.cols, t->kernels->nr};
}

static void pack_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const packed_task *t = arg;
  packing x = packing_of_a(t);
  int64_t chunks = chunks_per_batch(&x, t->depth);
  if (chunk >= t->batches * chunks) {
    chunk -= t->batches * chunks;
    x = packing_of_b(t);
    chunks = chunks_per_batch(&x, t->depth);
  }
  int64_t batch = chunk / chunks, strips = kiln__ceil_div(x.extent, x.width), each = strips_per_chunk(&x, t->depth);
  int64_t begin = chunk % chunks * each;
  x.pack(x.to + batch * strips * x.width * t->depth * t->kernels->item, x.from + batch * x.batch, x.across, x.along, x.extent, t->depth,
         begin, kiln__min(begin + each, strips));
}

static void pack_panel(const kiln_context *ctx, packed_task *t) {
  packing a = packing_of_a(t), b = packing_of_b(t);
  int64_t chunks = chunks_per_batch(&a, t->depth) + (t->pack_b ? chunks_per_batch(&b, t->depth) : 0);
  kiln__parallel_for(ctx, t->batches * chunks, pack_chunk, t);
}

// What happens at the end of run `run`: the sums wait in fp32 for the last one.
static kiln__gemm_finish finish_of_run(const packed_task *t, int64_t run) {
  bool first = run == 0, last = run == t->runs - 1;
  kiln__gemm_finish f = t->args->finish;
  const kiln__gemm_part *p = &t->panel;
  int64_t row = t->panel_n, batch = t->panel_m * row;
  kiln__matrix sums = {t->sums - p->batch * batch - p->i * row - p->j, batch, row, 1};
  if (!last) return (kiln__gemm_finish){.c = sums, .alpha = 1, .accumulate = !first};
  if (!first) f.carry = sums;
  return f;
}

static void multiply_part(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const packed_task *t = arg;
  const kiln__gemm_part *panel = &t->panel;
  int64_t row_parts = kiln__ceil_div(panel->rows, t->part_m), col_parts = kiln__ceil_div(panel->cols, t->part_n);
  int64_t i = chunk % row_parts * t->part_m, j = chunk / row_parts % col_parts * t->part_n;
  int64_t batch = chunk / row_parts / col_parts;
  kiln__gemm_part p = {panel->batch + batch, panel->i + i, panel->j + j, kiln__min(t->part_m, panel->rows - i),
                       kiln__min(t->part_n, panel->cols - j)};
  int64_t rows = kiln__round_up(panel->rows, t->kernels->mr), cols = kiln__round_up(panel->cols, t->kernels->nr);
  int64_t item = t->kernels->item, mr = t->kernels->mr, nr = t->kernels->nr;
  const char *a = t->a + (batch * rows + i) * t->depth * item, *b = t->b + (batch * cols + j) * t->depth * item;
  for (int64_t k = 0; k < t->depth; k += t->kc) {
    kiln__gemm_finish f = finish_of_run(t, (t->k + k) / t->kc);
    t->kernels->packed(&f, &p, a + k * mr * item, mr * t->depth, b + k * nr * item, nr * t->depth,
                       kiln__min(t->kc, t->depth - k));
  }
}

static void multiply_panel(const kiln_context *ctx, packed_task *t) {
  int64_t parts = kiln__ceil_div(t->panel.rows, t->part_m) * kiln__ceil_div(t->panel.cols, t->part_n);
  kiln__parallel_for(ctx, t->batches * parts, multiply_part, t);
}

// One round for each panel and its part of k. When one part holds all of k, b stays packed while all rows of a pass it.
static void multiply(const kiln_context *ctx, packed_task *t) {
  const kiln__gemm_args *g = t->args;
  kiln__gemm_part *p = &t->panel;
  for (p->batch = 0; p->batch < g->batches; p->batch += t->panel_batches) {
    t->batches = kiln__min(t->panel_batches, g->batches - p->batch);
    for (p->j = 0; p->j < g->n; p->j += t->panel_n) {
      p->cols = kiln__min(t->panel_n, g->n - p->j);
      for (p->i = 0; p->i < g->m; p->i += t->panel_m) {
        p->rows = kiln__min(t->panel_m, g->m - p->i);
        for (t->k = 0; t->k < g->k; t->k += t->panel_k) {
          t->depth = kiln__min(t->panel_k, g->k - t->k);
          t->pack_b = p->i == 0 || t->panel_k < g->k;
          pack_panel(ctx, t);
          multiply_panel(ctx, t);
        }
      }
    }
  }
}

kiln_status kiln__gemm_packed(kiln_context *ctx, const kiln__gemm_kernels *kernels, const kiln__gemm_args *g) {
  packed_task t = {.kernels = kernels, .args = g};
  plan(&t);
  int64_t a = kiln__round_up(t.panel_batches * t.panel_m * t.panel_k * kernels->item, KILN_ALIGNMENT);
  int64_t b = kiln__round_up(t.panel_batches * t.panel_n * t.panel_k * kernels->item, KILN_ALIGNMENT);
  int64_t sums = t.runs > 1 ? t.panel_batches * t.panel_m * t.panel_n * (int64_t)sizeof(float) : 0;
  KILN_TRY(kiln__scratch(ctx, (size_t)(a + b + sums), (void **)&t.a));
  if (ctx->query) return KILN_OK;
  t.b = t.a + a;
  t.sums = (float *)(t.b + b);
  multiply(ctx, &t);
  return KILN_OK;
}
