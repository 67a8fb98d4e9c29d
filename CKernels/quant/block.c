#include "quant/block.h"

kiln_status kiln__check_count(kiln_context *ctx, const char *name, const kiln_tensor *t, kiln_dtype dtype,
                              int64_t count) {
  KILN_TRY(kiln__check_dtype(ctx, name, t, dtype));
  if (kiln__count(t) != count) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "%s is %s, not of %lld elements", name, kiln__shape_text(t).s,
                      (long long)count);
  }
  return kiln__check_dense(ctx, name, t);
}

kiln_status kiln__rounding(kiln_context *ctx, const kiln_rounding_options *options, kiln_rounding *rounding,
                           kiln__random *random) {
  kiln_rounding_options o = kiln_rounding_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  if (o.rounding != KILN_ROUND_NEAREST && o.rounding != KILN_ROUND_STOCHASTIC) {
    return kiln__fail(ctx, KILN_ERR_OPTION, "rounding is %d, not 0 (nearest) or 1 (stochastic)", (int)o.rounding);
  }
  *rounding = o.rounding;
  *random = kiln__random_of(o.seed, o.step, o.site);
  return KILN_OK;
}

typedef struct blocks_task {
  kiln__block_body *body;
  const void *task;
  int64_t blocks, each;  // each: of a chunk
} blocks_task;

static void blocks_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const blocks_task *t = arg;
  int64_t end = kiln__min((chunk + 1) * t->each, t->blocks);
  for (int64_t block = chunk * t->each; block < end; block++) t->body(t->task, block);
}

void kiln__for_blocks(const kiln_context *ctx, int64_t blocks, int64_t elements, kiln__block_body *body,
                      const void *task) {
  blocks_task t = {body, task, blocks, KILN_QUANT_CHUNK / elements};
  kiln__parallel_for(ctx, kiln__ceil_div(blocks, t.each), blocks_chunk, &t);
}
