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
  float *a, *b;                              // the packed panels
  float *sums;                               // [panel_batches, m, panel_n]: the carry, if it is KILN_CARRY_SCRATCH
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

typedef void (*pack_strips)(float *, const float *, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t);

// What one operand needs to be packed: strips of `width` of its `extent` rows (of a) or columns (of b), per batch.
typedef struct packing {
  pack_strips pack;
  float *to;
  const float *from;
  int64_t batch, across, along, extent, width;
} packing;

static int64_t strips_per_chunk(const packing *x, int64_t depth) {
  return kiln__max(1, PACK_ELEMENTS / (x->width * depth));
}

static int64_t chunks_per_batch(const packing *x, int64_t depth) {
  return kiln__ceil_div(kiln__ceil_div(x->extent, x->width), strips_per_chunk(x, depth));
}

static packing packing_of_a(const packed_task *t) {
  const kiln__matrix *a = &t->args->a;
  const float *from = (const float *)a->data + t->panel.batch * a->batch + t->panel.i * a->row + t->k * a->col;
  return (packing){t->kernels->pack_a, t->a, from, a->batch, a->row, a->col, t->panel.rows, t->kernels->mr};
}

static packing packing_of_b(const packed_task *t) {
  const kiln__matrix *b = &t->args->b;
  const float *from = (const float *)b->data + t->panel.batch * b->batch + t->panel.j * b->col + t->k * b->row;
  return (packing){t->kernels->pack_b, t->b, from, b->batch, b->col, b->row, t->panel.cols, t->kernels->nr};
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
  x.pack(x.to + batch * strips * x.width * t->depth, x.from + batch * x.batch, x.across, x.along, x.extent, t->depth,
         begin, kiln__min(begin + each, strips));
}

static void pack_panel(const kiln_context *ctx, packed_task *t) {
  packing a = packing_of_a(t), b = packing_of_b(t);
  int64_t chunks = chunks_per_batch(&a, t->depth) + (t->pack_b ? chunks_per_batch(&b, t->depth) : 0);
  kiln__parallel_for(ctx, t->batches * chunks, pack_chunk, t);
}

static kiln__matrix carry(const packed_task *t) {
  const kiln__gemm_finish *f = &t->args->finish;
  if (t->args->carry == KILN_CARRY_PREACTIVATION) return f->preactivation;
  if (t->args->carry == KILN_CARRY_C) return f->c;
  float *origin = t->sums - t->panel.batch * t->args->m * t->panel_n - t->panel.j;
  return (kiln__matrix){origin, t->args->m * t->panel_n, t->panel_n, 1};
}

// What happens at the end of run `run`.
static kiln__gemm_finish finish_of_run(const packed_task *t, int64_t run) {
  kiln__gemm_finish f = t->args->finish;
  bool first = run == 0, last = run == t->runs - 1;
  if (!first) f.bias = NULL;
  if (t->args->carry == KILN_CARRY_NOT_NEEDED) {
    if (!first) f.residual.data = NULL;
    f.accumulate |= !first;
  } else if (!last) {
    f = (kiln__gemm_finish){.c = carry(t), .bias = f.bias, .alpha = f.alpha, .accumulate = !first};
  } else if (!first) {
    f.carry = carry(t);
  }
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
  const float *a = t->a + (batch * rows + i) * t->depth, *b = t->b + (batch * cols + j) * t->depth;
  for (int64_t k = 0; k < t->depth; k += t->kc) {
    kiln__gemm_finish f = finish_of_run(t, (t->k + k) / t->kc);
    t->kernels->packed(&f, &p, a + k * t->kernels->mr, t->kernels->mr * t->depth, b + k * t->kernels->nr,
                       t->kernels->nr * t->depth, kiln__min(t->kc, t->depth - k));
  }
}

static void multiply_panel(const kiln_context *ctx, packed_task *t) {
  int64_t parts = kiln__ceil_div(t->panel.rows, t->part_m) * kiln__ceil_div(t->panel.cols, t->part_n);
  kiln__parallel_for(ctx, t->batches * parts, multiply_part, t);
}

// One round for each panel: b stays packed while all rows of a pass it.
static void multiply(const kiln_context *ctx, packed_task *t) {
  const kiln__gemm_args *g = t->args;
  kiln__gemm_part *p = &t->panel;
  for (p->batch = 0; p->batch < g->batches; p->batch += t->panel_batches) {
    t->batches = kiln__min(t->panel_batches, g->batches - p->batch);
    for (p->j = 0; p->j < g->n; p->j += t->panel_n) {
      p->cols = kiln__min(t->panel_n, g->n - p->j);
      for (t->k = 0; t->k < g->k; t->k += t->panel_k) {
        t->depth = kiln__min(t->panel_k, g->k - t->k);
        for (p->i = 0; p->i < g->m; p->i += t->panel_m) {
          p->rows = kiln__min(t->panel_m, g->m - p->i);
          t->pack_b = p->i == 0;
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
  int64_t a = t.panel_batches * t.panel_m * t.panel_k, b = t.panel_batches * t.panel_n * t.panel_k;
  bool needs_sums = g->carry == KILN_CARRY_SCRATCH && t.runs > 1;
  int64_t sums = needs_sums ? t.panel_batches * g->m * t.panel_n : 0;
  KILN_TRY(kiln__scratch(ctx, (size_t)(a + b + sums) * sizeof(float), (void **)&t.a));
  if (ctx->query) return KILN_OK;
  t.b = t.a + a;
  t.sums = t.b + b;
  multiply(ctx, &t);
  return KILN_OK;
}
