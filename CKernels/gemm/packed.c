// A product by blocks. k is cut into runs of at most kc. In each round the threads first pack one run of one operand,
// the shared one; then each takes a part of the other, packs it into memory of its own that stays in its second cache,
// and multiplies it with all of the shared one. The smaller operand is shared: so the larger one is read once and
// written nowhere but into a cache. Batches that are small share a round.
// All cuts of k follow from the shape, so each element's sum has one order whatever the threads.
#include "gemm/blocks.h"
#include "gemm/gemm.h"

enum {
  SHARED = 3072,            // most rows or columns packed at once
  SUMS = 1 << 22,           // most sums that wait for the next run
  PARTS = 64,               // wanted of a round, so that threads end together ...
  PART_WORK = 1 << 19,      // ... but not below so many multiply-adds a part
  PACK_ELEMENTS = 49152,    // packed by one chunk
};

// How one operand is packed: `rows` of it (columns, for b) in strips of `width`, at most `panel` at a time.
typedef struct operand {
  kiln__gemm_pack *pack;
  const char *data;
  int64_t item, batch, across, along;  // bytes of an element, then strides in elements
  int64_t rows, width, panel;
  int64_t begin, count;                // the round's rows
} operand;

typedef struct packed_task {
  const kiln__gemm_kernels *kernels;   // those that pack a
  const kiln__gemm_args *args;
  const kiln__quant_kernels *quant;    // for blocks
  operand a, b;
  operand *shared, *parted;            // a and b, or b and a
  int64_t kc, runs;                    // k is `runs` runs of kc, the last one maybe shorter
  int64_t part, batches;               // rows of the parted operand in one part; batches of a round
  char *panel, *own;                   // packed: the shared operand, and each thread's part
  int64_t own_bytes;
  float *sums;                         // [batches, a.panel, b.panel] over the runs so far, if there are more
  int64_t batch, count, run, depth;    // the round: its batches, and its run with that one's steps
} packed_task;

// Cuts `total` into equal blocks of at most `most`, rounded up to `unit`.
static int64_t block(int64_t total, int64_t most, int64_t unit) {
  return kiln__round_up(kiln__ceil_div(total, kiln__ceil_div(total, most)), unit);
}

static int64_t parts(const packed_task *t, int64_t batches, int64_t rows) {
  return batches * kiln__ceil_div(rows, t->part);
}

static void plan(packed_task *t, const kiln__gemm_kernels *of_b) {
  const kiln__gemm_kernels *ker = t->kernels;
  const kiln__gemm_args *g = t->args;
  int64_t item_a = (int64_t)kiln_dtype_size(g->a_dtype), item_b = (int64_t)kiln_dtype_size(g->b_dtype);
  t->a = (operand){ker->pack_a, g->a.data, item_a, g->a.batch, g->a.row, g->a.col, .rows = g->m, .width = ker->mr};
  t->b = (operand){of_b->pack_b, g->b.data, item_b, g->b.batch, g->b.col, g->b.row, .rows = g->n, .width = ker->nr};
  operand *s = t->shared = g->m < g->n ? &t->a : &t->b, *p = t->parted = g->m < g->n ? &t->b : &t->a;
  t->runs = kiln__max(1, kiln__ceil_div(g->k, ker->kc));
  t->kc = kiln__round_up(kiln__ceil_div(g->k, t->runs), g->blocks.format ? KILN_NF4_BLOCK : ker->steps);
  s->panel = block(s->rows, SHARED, s->width);
  p->panel = block(p->rows, t->runs > 1 ? SUMS / s->panel : p->rows, p->width);
  int64_t room = kiln__min(SHARED * ker->kc / (s->panel * kiln__max(t->kc, 1)), SUMS / (s->panel * p->panel));
  t->batches = kiln__min(g->batches, kiln__max(1, room));
  t->part = block(p->panel, ker->mc, p->width);
  while (parts(t, t->batches, p->panel) < PARTS && t->part > 4 * p->width && t->part * s->panel * t->kc > PART_WORK) {
    t->part = kiln__round_up(t->part / 2, p->width);
  }
}

// Bytes of `rows` of them, packed, in a run of k steps.
static int64_t packed_bytes(const packed_task *t, int64_t rows, int64_t k) {
  return rows * (kiln__round_up(k, t->kernels->steps) * t->kernels->item + t->kernels->tail);
}

// Packs strips begin ..< end of the round's rows of x, in one batch, to `to`. Each strip of one operand is packed once
// in a run while the other is at its first rows: then it is summed for bias_gradient.
static void pack(const packed_task *t, const operand *x, int64_t batch, int64_t begin, int64_t end, char *to) {
  if (x == &t->b && t->args->blocks.format) {
    kiln__pack_blocks(t->quant, &t->args->blocks, x->pack, (float *)to, x->width, x->begin + begin * x->width,
                      x->count - begin * x->width, t->run * t->kc, t->depth, end - begin);
    return;
  }
  int64_t at = (t->batch + batch) * x->batch + (x->begin + begin * x->width) * x->across + t->run * t->kc * x->along;
  x->pack(to, x->data + at * x->item, x->across, x->along, x->count - begin * x->width, t->depth, end - begin);
  float *sums = t->args->bias_gradient;
  bool of_b = t->args->bias_gradient_of_b;
  if (!sums || x != (of_b ? &t->b : &t->a) || (of_b ? &t->a : &t->b)->begin > 0) return;
  kiln__gemm_sum *sum = of_b ? t->kernels->sum_b : t->kernels->sum_a;
  sum(sums + x->begin + begin * x->width, to, kiln__min(end * x->width, x->count) - begin * x->width, t->depth,
      t->args->finish.alpha, t->args->finish.accumulate || t->run > 0);
}

static int64_t strips_per_chunk(const packed_task *t) {
  return kiln__max(1, PACK_ELEMENTS / (t->shared->width * kiln__max(t->depth, 1)));
}

static void pack_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const packed_task *t = arg;
  int64_t strips = kiln__ceil_div(t->shared->count, t->shared->width), each = strips_per_chunk(t);
  int64_t chunks = kiln__ceil_div(strips, each), batch = chunk / chunks, begin = chunk % chunks * each;
  char *to = t->panel + packed_bytes(t, (batch * strips + begin) * t->shared->width, t->depth);
  pack(t, t->shared, batch, begin, kiln__min(begin + each, strips), to);
}

static void pack_shared(const kiln_context *ctx, packed_task *t) {
  int64_t strips = kiln__ceil_div(t->shared->count, t->shared->width);
  kiln__parallel_for(ctx, t->count * kiln__ceil_div(strips, strips_per_chunk(t)), pack_chunk, t);
}

// What happens at the end of the run: the sums wait in fp32 for the last one.
static kiln__gemm_finish finish_of_run(const packed_task *t) {
  bool first = t->run == 0, last = t->run == t->runs - 1;
  kiln__gemm_finish f = t->args->finish;
  int64_t row = t->b.panel, batch = t->a.panel * row;
  kiln__matrix sums = {t->sums - t->batch * batch - t->a.begin * row - t->b.begin, batch, row, 1};
  if (!last) return (kiln__gemm_finish){.c = sums, .alpha = 1, .accumulate = !first};
  if (!first) f.carry = sums;
  return f;
}

static void multiply_part(void *arg, int64_t chunk, int thread) {
  const packed_task *t = arg;
  const operand *s = t->shared, *p = t->parted;
  int64_t chunks = kiln__ceil_div(p->count, t->part), batch = chunk / chunks, begin = chunk % chunks * t->part;
  int64_t rows = kiln__min(t->part, p->count - begin);
  char *own = t->own + thread * t->own_bytes;
  const char *panel = t->panel + packed_bytes(t, batch * kiln__round_up(s->count, s->width), t->depth);
  pack(t, p, batch, begin / p->width, kiln__ceil_div(begin + rows, p->width), own);
  kiln__gemm_finish f = finish_of_run(t);
  kiln__gemm_part c = {t->batch + batch, t->a.begin, t->b.begin, t->a.count, t->b.count};
  if (p == &t->a) {
    c.i += begin;
    c.rows = rows;
    t->kernels->packed(&f, &c, own, panel, t->depth);
  } else {
    c.j += begin;
    c.cols = rows;
    t->kernels->packed(&f, &c, panel, own, t->depth);
  }
}

static void multiply_shared(const kiln_context *ctx, packed_task *t) {
  kiln__parallel_for(ctx, parts(t, t->count, t->parted->count), multiply_part, t);
}

// One round for each panel and run. With one run, the shared operand stays packed while all of the other passes it.
static void multiply(const kiln_context *ctx, packed_task *t) {
  operand *s = t->shared, *p = t->parted;
  for (t->batch = 0; t->batch < t->args->batches; t->batch += t->batches) {
    t->count = kiln__min(t->batches, t->args->batches - t->batch);
    for (s->begin = 0; s->begin < s->rows; s->begin += s->panel) {
      s->count = kiln__min(s->panel, s->rows - s->begin);
      for (p->begin = 0; p->begin < p->rows; p->begin += p->panel) {
        p->count = kiln__min(p->panel, p->rows - p->begin);
        for (t->run = 0; t->run < t->runs; t->run++) {
          t->depth = kiln__min(t->kc, t->args->k - t->run * t->kc);
          if (p->begin == 0 || t->runs > 1) pack_shared(ctx, t);
          multiply_shared(ctx, t);
        }
      }
    }
  }
}

kiln_status kiln__gemm_packed(kiln_context *ctx, const kiln__gemm_kernels *of_a, const kiln__gemm_kernels *of_b,
                              const kiln__gemm_args *g) {
  packed_task t = {.kernels = of_a, .args = g, .quant = ctx->kernels[KILN_F32].quant};
  plan(&t, of_b);
  int64_t panel = kiln__round_up(packed_bytes(&t, t.batches * t.shared->panel, t.kc), KILN_ALIGNMENT);
  t.own_bytes = kiln__round_up(packed_bytes(&t, t.part, t.kc), KILN_ALIGNMENT);
  int64_t own = ctx->threads * t.own_bytes;
  int64_t sums = t.runs > 1 ? t.batches * t.a.panel * t.b.panel * (int64_t)sizeof(float) : 0;
  KILN_TRY(kiln__scratch(ctx, (size_t)(panel + own + sums), (void **)&t.panel));
  if (ctx->query) return KILN_OK;
  t.own = t.panel + panel;
  t.sums = (float *)(t.own + own);
  multiply(ctx, &t);
  return KILN_OK;
}
