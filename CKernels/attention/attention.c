// Checks, cutting and threads of attention.
#include "attention/opencl.h"
#include "opencl/launch.h"

// However few heads there are, the forward has at least so many parts if its blocks of queries need not be smaller than
// SMALL_BLOCK, and the backward if it has as many blocks of keys.
enum { PARTS = 16, SMALL_BLOCK = 48, FEW_KEYS = 32, MOST_WIDTH = 65536 };

typedef struct attention_task {
  const kiln__attention_kernels *kernels;
  kiln__attention_args args;
  int64_t b, h, hkv;
  int64_t block, blocks;      // queries in a block, blocks in a head
  int64_t parts;              // of one key head's backward, or of the keys of a few queries
  size_t size;                // bytes of an element
  char *scratch;              // scratch_bytes for each thread
  char *sums;                 // sums_bytes for each part; where a key head's backward is one part, for each thread
  int64_t scratch_bytes, sums_bytes;
} attention_task;

static kiln__heads heads(const kiln_tensor *t) {
  return (kiln__heads){kiln__data(t), t->strides[0], t->strides[1], t->strides[2]};
}

// lse is [b, h, tq].
static kiln__heads lse_heads(const kiln_tensor *t) {
  if (!t) return (kiln__heads){0};
  return (kiln__heads){kiln__data(t), t->strides[0], t->strides[2], t->strides[1]};
}

static kiln_status check_unit_stride(kiln_context *ctx, const char *name, const kiln_tensor *t) {
  if (t->shape[3] <= 1 || t->strides[3] == 1) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_STRIDE, "%s has stride %lld in its last dimension, not 1", name,
                    (long long)t->strides[3]);
}

static kiln_status check_heads(kiln_context *ctx, const char *name, const kiln_tensor *t, const char *like_name,
                               const kiln_tensor *like) {
  KILN_TRY(kiln__check_like(ctx, name, t, like_name, like));
  return check_unit_stride(ctx, name, t);
}

static kiln_status check_lse(kiln_context *ctx, const kiln_tensor *lse, const kiln_tensor *q) {
  KILN_TRY(kiln__check_dtype(ctx, "lse", lse, kiln__wide(q->dtype)));
  if (lse->rank == 3 && lse->shape[0] == q->shape[0] && lse->shape[1] == q->shape[2] && lse->shape[2] == q->shape[1]) {
    return KILN_OK;
  }
  return kiln__fail(ctx, KILN_ERR_SHAPE, "lse is %s, not [%lld, %lld, %lld]", kiln__shape_text(lse).s,
                    (long long)q->shape[0], (long long)q->shape[2], (long long)q->shape[1]);
}

// q, k and v against each other.
static kiln_status check_inputs(kiln_context *ctx, const kiln_tensor *q, const kiln_tensor *k, const kiln_tensor *v) {
  kiln_dtype dtype;
  KILN_TRY(kiln__check_real(ctx, "q", q, &dtype));
  KILN_TRY(kiln__check_dtype(ctx, "k", k, dtype));
  if (q->rank != 4 || q->shape[3] == 0 || q->shape[3] > MOST_WIDTH) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "q is %s, not [b, tq, h, d] with d in 1...%d", kiln__shape_text(q).s,
                      MOST_WIDTH);
  }
  if (k->rank != 4 || k->shape[0] != q->shape[0] || k->shape[3] != q->shape[3]) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "k is %s, not [b, tk, hkv, d] for q %s", kiln__shape_text(k).s,
                      kiln__shape_text(q).s);
  }
  int64_t h = q->shape[2], hkv = k->shape[2];
  if (hkv == 0 ? h != 0 : h % hkv != 0) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "%lld query heads are not a multiple of %lld key heads", (long long)h,
                      (long long)hkv);
  }
  KILN_TRY(check_unit_stride(ctx, "q", q));
  KILN_TRY(check_unit_stride(ctx, "k", k));
  return check_heads(ctx, "v", v, "k", k);
}

// The offsets' values: in each row ascending, in 0...t.
static kiln_status check_offset_values(kiln_context *ctx, const kiln__attention_args *a, int64_t rows) {
  for (int64_t row = 0; row < rows; row++) {
    int64_t last = 0;
    for (int64_t n = 0; n < a->offsets_n; n++) {
      int64_t offset = a->offsets[row * a->offsets_b + n * a->offsets_t];
      if (offset < last || offset > a->tq) {
        return kiln__fail(ctx, KILN_ERR_OPTION, "offsets[%lld, %lld] is %lld, after %lld: they ascend within 0...%lld",
                          (long long)row, (long long)n, (long long)offset, (long long)last, (long long)a->tq);
      }
      last = offset;
    }
  }
  return KILN_OK;
}

static kiln_status take_offsets(kiln_context *ctx, attention_task *t, const kiln_tensor *offsets) {
  if (!offsets) return KILN_OK;
  kiln__attention_args *a = &t->args;
  KILN_TRY(kiln__check_dtype(ctx, "offsets", offsets, KILN_I32));
  if (offsets->rank != 2 || offsets->shape[0] != t->b || offsets->shape[1] < 2) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "offsets is %s, not [%lld, sequences + 1]", kiln__shape_text(offsets).s,
                      (long long)t->b);
  }
  if (a->tq != a->tk) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "offsets need as many queries as keys, not %lld and %lld", (long long)a->tq,
                      (long long)a->tk);
  }
  a->offsets = kiln__data(offsets);
  a->offsets_n = offsets->shape[1];
  a->offsets_b = offsets->strides[0];
  a->offsets_t = offsets->strides[1];
  // On a device nobody can look.
  return ctx->query || ctx->cl ? KILN_OK : check_offset_values(ctx, a, t->b);
}

static kiln_status prepare(kiln_context *ctx, attention_task *t, const kiln_tensor *q, const kiln_tensor *k,
                           const kiln_tensor *v, const kiln_attention_options *options) {
  kiln_attention_options o = kiln_attention_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  if (!isfinite(o.scale)) return kiln__fail(ctx, KILN_ERR_OPTION, "scale is %g", (double)o.scale);
  if (o.window < 0) return kiln__fail(ctx, KILN_ERR_OPTION, "window is %lld: it counts keys", (long long)o.window);
  KILN_TRY(check_inputs(ctx, q, k, v));
  t->size = kiln_dtype_size(q->dtype);
  t->kernels = ctx->kernels[q->dtype].attention;
  t->b = q->shape[0];
  t->h = q->shape[2];
  t->hkv = k->shape[2];
  int64_t tq = q->shape[1], d = q->shape[3];
  t->args = (kiln__attention_args){.q = heads(q), .k = heads(k), .v = heads(v), .tq = tq, .tk = k->shape[1], .d = d,
                                   .group = t->hkv ? t->h / t->hkv : 0, .causal = o.causal != 0, .window = o.window,
                                   .scale = o.scale != 0 ? o.scale : 1 / sqrt((double)d)};
  t->block = t->kernels->query_block;
  while (t->block >= 2 * SMALL_BLOCK && t->b * t->h * kiln__ceil_div(tq, t->block) < PARTS) t->block /= 2;
  t->blocks = kiln__ceil_div(tq, t->block);
  return take_offsets(ctx, t, o.offsets);
}

// Scratch for `count` users of `bytes` each.
static kiln_status take(kiln_context *ctx, int64_t *bytes, size_t needed, int64_t count, char **out) {
  *bytes = kiln__round_up((int64_t)needed, KILN_ALIGNMENT);
  int64_t total;
  if (__builtin_mul_overflow(*bytes, count, &total)) {
    return kiln__fail(ctx, KILN_ERR_OVERFLOW, "scratch of %lld times %lld bytes", (long long)count, (long long)*bytes);
  }
  return kiln__scratch(ctx, (size_t)total, (void **)out);
}

static kiln__span queries(const attention_task *t, int64_t block) {
  return (kiln__span){block * t->block, kiln__min((block + 1) * t->block, t->args.tq)};
}

static void fwd_chunk(void *arg, int64_t chunk, int thread) {
  attention_task *t = arg;
  // Head by head, so that its keys and values stay in the cache. The last blocks see the most keys under a causal mask:
  // they go first, so that the threads end together.
  int64_t head = chunk / t->blocks, block = t->blocks - 1 - chunk % t->blocks;
  t->kernels->fwd(&t->args, head / t->h, head % t->h, queries(t, block), t->scratch + thread * t->scratch_bytes);
}

static void query_chunk(void *arg, int64_t chunk, int thread) {
  attention_task *t = arg;
  t->kernels->query(&t->args, t->hkv, chunk / t->parts, chunk % t->parts, t->parts, t->sums + chunk * t->sums_bytes,
                    t->scratch + thread * t->scratch_bytes);
}

static void merge_chunk(void *arg, int64_t head, int thread) {
  (void)thread;
  attention_task *t = arg;
  int64_t b = head / t->h;
  t->kernels->merge(&t->args, b, head % t->h, t->sums + b * t->parts * t->sums_bytes, t->parts, t->sums_bytes);
}

// Few queries: the keys of a batch row in parts of at least FEW_KEYS.
static kiln_status query_fwd(kiln_context *ctx, attention_task *t) {
  const kiln__attention_args *a = &t->args;
  t->parts = kiln__max(1, kiln__min(kiln__ceil_div(PARTS, t->b), a->tk / FEW_KEYS));
  KILN_TRY(take(ctx, &t->scratch_bytes, t->kernels->query_bytes(a, t->hkv, true), ctx->threads, &t->scratch));
  KILN_TRY(take(ctx, &t->sums_bytes, t->kernels->query_bytes(a, t->hkv, false), t->b * t->parts, &t->sums));
  if (ctx->query) return KILN_OK;
  kiln__parallel_for(ctx, t->b * t->parts, query_chunk, t);
  kiln__parallel_for(ctx, t->b * t->h, merge_chunk, t);
  return KILN_OK;
}

kiln_status kiln_attention_fwd(kiln_context *ctx, const kiln_tensor *o, const kiln_tensor *lse, const kiln_tensor *q,
                               const kiln_tensor *k, const kiln_tensor *v, const kiln_attention_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "attention_fwd"));
  attention_task t = {0};
  KILN_TRY(prepare(ctx, &t, q, k, v, options));
  KILN_TRY(check_heads(ctx, "o", o, "q", q));
  if (lse) KILN_TRY(check_lse(ctx, lse, q));
  t.args.o = heads(o);
  t.args.lse = lse_heads(lse);
  if (kiln__count(q) == 0) return KILN_OK;
  if (ctx->cl) {
    KILN_TRY(kiln__cl_takes_real(ctx, q->dtype));
    return kiln__attention_fwd_opencl(ctx, q->dtype, &t.args, t.b, t.h, t.hkv);
  }
  if (t.kernels->few(&t.args)) return query_fwd(ctx, &t);
  KILN_TRY(take(ctx, &t.scratch_bytes, t.kernels->scratch(&t.args, false), ctx->threads, &t.scratch));
  if (ctx->query) return KILN_OK;
  kiln__parallel_for(ctx, t.b * t.h * t.blocks, fwd_chunk, &t);
  return KILN_OK;
}

static void dq_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  attention_task *t = arg;
  int64_t head = chunk / t->blocks;
  const char *sums = t->sums + head / t->args.group * t->parts * t->sums_bytes;
  t->kernels->dq(&t->args, head / t->h, head % t->h, queries(t, chunk % t->blocks), sums, t->parts, t->sums_bytes);
}

static void bwd_chunk(void *arg, int64_t chunk, int thread) {
  attention_task *t = arg;
  int64_t head = chunk / t->parts, part = chunk % t->parts, b = head / t->hkv, hkv = head % t->hkv;
  char *sums = t->sums + (t->parts > 1 ? chunk : thread) * t->sums_bytes;
  t->kernels->bwd(&t->args, b, hkv, part, t->parts, sums, t->scratch + thread * t->scratch_bytes);
  if (t->parts > 1) return;
  for (int64_t g = 0; g < t->args.group; g++) {
    t->kernels->dq(&t->args, b, hkv * t->args.group + g, (kiln__span){0, t->args.tq}, sums, 1, 0);
  }
}

// Each part's sums for dq are as large as dq of its query heads, in fp32: with one part a head one for each thread, and
// otherwise PARTS of them at most for one key head, fewer for each further one.
static kiln_status take_backward_scratch(kiln_context *ctx, attention_task *t) {
  int64_t heads = kiln__max(t->b * t->hkv, 1), blocks = kiln__ceil_div(t->args.tk, t->kernels->key_block);
  t->parts = kiln__max(1, kiln__min(kiln__ceil_div(PARTS, heads), blocks));
  KILN_TRY(take(ctx, &t->scratch_bytes, t->kernels->scratch(&t->args, true), ctx->threads, &t->scratch));
  return take(ctx, &t->sums_bytes, t->kernels->sums(&t->args), t->parts > 1 ? heads * t->parts : ctx->threads,
              &t->sums);
}

kiln_status kiln_attention_bwd(kiln_context *ctx, const kiln_tensor *dq, const kiln_tensor *dk, const kiln_tensor *dv,
                               const kiln_tensor *d_o, const kiln_attention_saved *saved,
                               const kiln_attention_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "attention_bwd"));
  if (!saved) return kiln__fail(ctx, KILN_ERR_NULL, "saved is NULL");
  attention_task t = {0};
  KILN_TRY(prepare(ctx, &t, saved->q, saved->k, saved->v, options));
  KILN_TRY(check_heads(ctx, "o", saved->o, "q", saved->q));
  KILN_TRY(check_lse(ctx, saved->lse, saved->q));
  KILN_TRY(check_heads(ctx, "d_o", d_o, "q", saved->q));
  KILN_TRY(check_heads(ctx, "dq", dq, "q", saved->q));
  KILN_TRY(check_heads(ctx, "dk", dk, "k", saved->k));
  KILN_TRY(check_heads(ctx, "dv", dv, "k", saved->k));
  t.args.o = heads(saved->o);
  t.args.lse = lse_heads(saved->lse);
  t.args.d_o = heads(d_o);
  t.args.dq = heads(dq);
  t.args.dk = heads(dk);
  t.args.dv = heads(dv);
  if (kiln__count(saved->q) == 0 && kiln__count(saved->k) == 0) return KILN_OK;
  if (ctx->cl) {
    KILN_TRY(kiln__cl_takes_real(ctx, saved->q->dtype));
    return kiln__attention_bwd_opencl(ctx, saved->q->dtype, &t.args, t.b, t.h, t.hkv);
  }
  KILN_TRY(take_backward_scratch(ctx, &t));
  if (ctx->query) return KILN_OK;
  kiln__parallel_for(ctx, t.b * t.hkv * t.parts, bwd_chunk, &t);
  if (t.parts > 1) kiln__parallel_for(ctx, t.b * t.h * t.blocks, dq_chunk, &t);
  return KILN_OK;
}
