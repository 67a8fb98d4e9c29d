// Attention on an OpenCL device.
#include "attention/opencl.h"

#include "opencl/launch.h"

enum { LANES = 16 };

typedef struct strides { int64_t b, t, h; } strides;

// As `attention` of attention.cl has it.
typedef struct attention {
  int64_t tq, tk, d, heads, key_heads;
  strides q, k, v, o, d_o, dq, dk, dv, lse;
  int64_t window, offsets_b, offsets_t, offsets_n;
  float scale;
  int32_t causal;
} attention;

static strides of(const kiln__heads *x) { return (strides){x->b, x->t, x->h}; }

static attention describe(const kiln__attention_args *a, int64_t heads, int64_t key_heads) {
  return (attention){.tq = a->tq, .tk = a->tk, .d = a->d, .heads = heads, .key_heads = key_heads, .q = of(&a->q),
                     .k = of(&a->k), .v = of(&a->v), .o = of(&a->o), .d_o = of(&a->d_o), .dq = of(&a->dq),
                     .dk = of(&a->dk), .dv = of(&a->dv), .lse = of(&a->lse), .window = a->window,
                     .offsets_b = a->offsets_b, .offsets_t = a->offsets_t, .offsets_n = a->offsets_n,
                     .scale = (float)a->scale, .causal = a->causal};
}

// Scratch for so many rows of d elements.
static kiln_status take(kiln_context *ctx, int64_t rows, int64_t d, float **out) {
  int64_t bytes;
  if (__builtin_mul_overflow(rows, d * (int64_t)sizeof(float), &bytes)) {
    return kiln__fail(ctx, KILN_ERR_OVERFLOW, "scratch of %lld rows", (long long)rows);
  }
  return kiln__scratch(ctx, (size_t)bytes, (void **)out);
}

// Puts the rows of x one after the other, by head, in fp32, unless they are; x is then the copy.
static kiln_status gather(kiln_context *ctx, kiln_dtype dtype, kiln__heads *x, int64_t b, int64_t t, int64_t heads,
                          int64_t d) {
  if (x->t == d && dtype == KILN_F32) return KILN_OK;
  float *to;
  strides from = of(x);
  KILN_TRY(take(ctx, b * heads * t, d, &to));
  KILN_TRY(KILN_CL_LAUNCH(ctx, kiln__cl_of(KILN_CL_ATTENTION, dtype), "attention_gather",
                          ((kiln__cl_grid){t, heads, b, 1}), CL_AT(to), CL_AT(x->data), CL_STRUCT(from), CL_LONG(d)));
  *x = (kiln__heads){.data = to, .b = heads * t * d, .t = d, .h = t * d};
  return KILN_OK;
}

kiln_status kiln__attention_fwd_opencl(kiln_context *ctx, kiln_dtype dtype, const kiln__attention_args *args, int64_t b,
                                       int64_t heads, int64_t key_heads) {
  kiln__attention_args a = *args;
  kiln__cl_program program = kiln__cl_of(KILN_CL_ATTENTION, dtype);
  int64_t blocks = kiln__ceil_div(a.tq, LANES);
  float *scratch;
  KILN_TRY(take(ctx, b * heads * blocks * 2 * LANES, a.d, &scratch));
  // Queries are met once: only their type is in the way.
  if (dtype != KILN_F32) KILN_TRY(gather(ctx, dtype, &a.q, b, a.tq, heads, a.d));
  KILN_TRY(gather(ctx, dtype, &a.k, b, a.tk, key_heads, a.d));
  KILN_TRY(gather(ctx, dtype, &a.v, b, a.tk, key_heads, a.d));
  attention p = describe(&a, heads, key_heads);
  return KILN_CL_LAUNCH(ctx, program, "attention_fwd", ((kiln__cl_grid){blocks, heads, b, 1}), CL_AT(a.o.data),
                        CL_AT(a.lse.data), CL_AT(a.q.data), CL_AT(a.k.data), CL_AT(a.v.data), CL_AT(a.offsets),
                        CL_AT(scratch), CL_STRUCT(p));
}

kiln_status kiln__attention_bwd_opencl(kiln_context *ctx, kiln_dtype dtype, const kiln__attention_args *args, int64_t b,
                                       int64_t heads, int64_t key_heads) {
  kiln__attention_args a = *args;
  kiln__cl_program program = kiln__cl_of(KILN_CL_ATTENTION, dtype);
  int64_t queries = kiln__ceil_div(a.tq, LANES), keys = kiln__ceil_div(a.tk, LANES);
  float *delta, *scratch;
  KILN_TRY(kiln__scratch(ctx, (size_t)(b * heads * a.tq) * sizeof *delta, (void **)&delta));
  KILN_TRY(take(ctx, kiln__max(b * heads * queries * 3, b * key_heads * keys * 4) * LANES, a.d, &scratch));
  KILN_TRY(gather(ctx, dtype, &a.q, b, a.tq, heads, a.d));
  KILN_TRY(gather(ctx, dtype, &a.d_o, b, a.tq, heads, a.d));
  KILN_TRY(gather(ctx, dtype, &a.k, b, a.tk, key_heads, a.d));
  KILN_TRY(gather(ctx, dtype, &a.v, b, a.tk, key_heads, a.d));
  attention p = describe(&a, heads, key_heads);
  KILN_TRY(KILN_CL_LAUNCH(ctx, program, "attention_delta", ((kiln__cl_grid){a.tq, heads, b, 1}), CL_AT(delta),
                          CL_AT(a.o.data), CL_AT(a.d_o.data), CL_STRUCT(p)));
  KILN_TRY(KILN_CL_LAUNCH(ctx, program, "attention_dq", ((kiln__cl_grid){queries, heads, b, 1}), CL_AT(a.dq.data),
                          CL_AT(a.q.data), CL_AT(a.k.data), CL_AT(a.v.data), CL_AT(a.d_o.data), CL_AT(a.lse.data),
                          CL_AT(delta), CL_AT(a.offsets), CL_AT(scratch), CL_STRUCT(p)));
  return KILN_CL_LAUNCH(ctx, program, "attention_dkv", ((kiln__cl_grid){keys, key_heads, b, 1}), CL_AT(a.dk.data),
                        CL_AT(a.dv.data), CL_AT(a.q.data), CL_AT(a.k.data), CL_AT(a.v.data), CL_AT(a.d_o.data),
                        CL_AT(a.lse.data), CL_AT(delta), CL_AT(a.offsets), CL_AT(scratch), CL_STRUCT(p));
}
