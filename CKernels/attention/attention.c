// Checks, cutting and threads of attention.
#include "core/parallel.h"

// The backward has at least so many parts (where it has as many blocks), however few key heads there are.
enum { PARTS = 8, MOST_WIDTH = 65536 };

typedef struct attention_task {
  const kiln__attention_kernels *kernels;
  kiln__attention_args args;
  int64_t b, h, hkv, blocks;  // blocks: of queries, in a head
  int64_t splits;             // parts of one key head's backward
  kiln_dtype dtype;
  size_t size, wide;          // bytes of an element, and of a sum of them
  char *scratch;              // scratch_bytes for each thread
  int64_t scratch_bytes;
  int64_t inplace;            // parts that add to dk and dv themselves: the first, where their type is that of sums
  char *partial;              // [b, hkv, splits - inplace, 2, tk, d]: what all other parts add to dk and dv
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

static kiln_status prepare(kiln_context *ctx, attention_task *t, const kiln_tensor *q, const kiln_tensor *k,
                           const kiln_tensor *v, const kiln_attention_options *options) {
  kiln_attention_options o = kiln_attention_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  if (!isfinite(o.scale)) return kiln__fail(ctx, KILN_ERR_OPTION, "scale is %g", (double)o.scale);
  KILN_TRY(check_inputs(ctx, q, k, v));
  t->dtype = q->dtype;
  t->size = kiln_dtype_size(q->dtype);
  t->wide = kiln_dtype_size(kiln__wide(q->dtype));
  t->inplace = t->size == t->wide;
  t->kernels = ctx->kernels[q->dtype].attention;
  t->b = q->shape[0];
  t->h = q->shape[2];
  t->hkv = k->shape[2];
  int64_t tq = q->shape[1], d = q->shape[3];
  t->args = (kiln__attention_args){.q = heads(q), .k = heads(k), .v = heads(v), .tq = tq, .tk = k->shape[1], .d = d,
                                   .group = t->hkv ? t->h / t->hkv : 0, .causal = o.causal != 0,
                                   .scale = o.scale != 0 ? o.scale : 1 / sqrt((double)d)};
  t->blocks = kiln__ceil_div(tq, t->kernels->block);
  return KILN_OK;
}

static kiln_status take_scratch(kiln_context *ctx, attention_task *t) {
  t->scratch_bytes = kiln__round_up((int64_t)t->kernels->scratch(&t->args), KILN_ALIGNMENT);
  int64_t bytes;
  if (__builtin_mul_overflow(t->scratch_bytes, ctx->threads, &bytes)) {
    return kiln__fail(ctx, KILN_ERR_OVERFLOW, "scratch of %lld bytes for each thread", (long long)t->scratch_bytes);
  }
  return kiln__scratch(ctx, (size_t)bytes, (void **)&t->scratch);
}

static void fwd_chunk(void *arg, int64_t chunk, int thread) {
  attention_task *t = arg;
  // The last blocks see the most keys under a causal mask: they go first, so that the threads end together.
  int64_t block = t->blocks - 1 - chunk / (t->b * t->h), head = chunk % (t->b * t->h);
  t->kernels->fwd(&t->args, head / t->h, head % t->h, block, t->scratch + thread * t->scratch_bytes);
}

kiln_status kiln_attention_fwd(kiln_context *ctx, const kiln_tensor *o, const kiln_tensor *lse, const kiln_tensor *q,
                               const kiln_tensor *k, const kiln_tensor *v, const kiln_attention_options *options) {
  KILN_TRY(kiln__begin(ctx, "attention_fwd"));
  attention_task t = {0};
  KILN_TRY(prepare(ctx, &t, q, k, v, options));
  KILN_TRY(check_heads(ctx, "o", o, "q", q));
  if (lse) KILN_TRY(check_lse(ctx, lse, q));
  t.args.o = heads(o);
  t.args.lse = lse_heads(lse);
  if (kiln__count(q) == 0) return KILN_OK;
  KILN_TRY(take_scratch(ctx, &t));
  if (ctx->query) return KILN_OK;
  kiln__parallel_for(ctx, t.b * t.h * t.blocks, fwd_chunk, &t);
  return KILN_OK;
}

// dk and dv of a key head.
static kiln__attention_target result(const attention_task *t, int64_t head) {
  const kiln__attention_args *a = &t->args;
  int64_t b = head / t->hkv, hkv = head % t->hkv;
  return (kiln__attention_target){kiln__heads_row(&a->dk, b, 0, hkv, t->size),
                                  kiln__heads_row(&a->dv, b, 0, hkv, t->size), a->dk.t, a->dv.t};
}

// Where part `split` of a key head's backward adds.
static kiln__attention_target target(const attention_task *t, int64_t head, int64_t split) {
  if (split < t->inplace) return result(t, head);
  const kiln__attention_args *a = &t->args;
  int64_t bytes = a->tk * a->d * (int64_t)t->wide;
  char *partial = t->partial + (head * (t->splits - t->inplace) + split - t->inplace) * 2 * bytes;
  return (kiln__attention_target){partial, partial + bytes, a->d, a->d};
}

static void bwd_chunk(void *arg, int64_t chunk, int thread) {
  attention_task *t = arg;
  int64_t head = chunk / t->splits, split = chunk % t->splits;
  kiln__attention_target to = target(t, head, split);
  t->kernels->bwd(&t->args, head / t->hkv, head % t->hkv, split, t->splits, &to,
                  t->scratch + thread * t->scratch_bytes);
}

static void sum_chunk(void *arg, int64_t head, int thread) {
  (void)thread;
  attention_task *t = arg;
  kiln__attention_target to = target(t, head, 0);
  for (int64_t split = 1; split < t->splits; split++) {
    kiln__attention_target from = target(t, head, split);
    t->kernels->add(to.dk, to.ldk, from.dk, from.ldk, t->args.tk, t->args.d);
    t->kernels->add(to.dv, to.ldv, from.dv, from.ldv, t->args.tk, t->args.d);
  }
  if (t->inplace) return;
  kiln__attention_target out = result(t, head);
  t->kernels->store(out.dk, out.ldk, to.dk, to.ldk, t->args.tk, t->args.d);
  t->kernels->store(out.dv, out.ldv, to.dv, to.ldv, t->args.tk, t->args.d);
}

// Splits the query blocks of each key head so that there are PARTS parts. Scratch: PARTS - 1 copies of dk and dv at
// most (one key head), less with each further head, none from PARTS heads on; one more of each in bf16.
static kiln_status split(kiln_context *ctx, attention_task *t) {
  int64_t heads = t->b * t->hkv;
  t->splits = kiln__max(1, kiln__min(kiln__ceil_div(PARTS, kiln__max(heads, 1)), t->args.group * t->blocks));
  int64_t bytes;
  if (__builtin_mul_overflow(t->args.tk * t->args.d * (int64_t)t->wide, 2 * (t->splits - t->inplace) * heads, &bytes)) {
    return kiln__fail(ctx, KILN_ERR_OVERFLOW, "scratch for %lld keys", (long long)t->args.tk);
  }
  return kiln__scratch(ctx, (size_t)bytes, (void **)&t->partial);
}

kiln_status kiln_attention_bwd(kiln_context *ctx, const kiln_tensor *dq, const kiln_tensor *dk, const kiln_tensor *dv,
                               const kiln_tensor *d_o, const kiln_attention_saved *saved,
                               const kiln_attention_options *options) {
  KILN_TRY(kiln__begin(ctx, "attention_bwd"));
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
  KILN_TRY(take_scratch(ctx, &t));
  KILN_TRY(split(ctx, &t));
  if (ctx->query) return KILN_OK;
  kiln__parallel_for(ctx, t.b * t.hkv * t.splits, bwd_chunk, &t);
  if (t.splits > t.inplace) kiln__parallel_for(ctx, t.b * t.hkv, sum_chunk, &t);
  return KILN_OK;
}
