#include "quant/opencl.h"

#include "quant/block.h"

kiln_status kiln__cast_opencl(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x, const void *scale,
                              const kiln__random *random) {
  bool narrows = kiln__is_short(y->dtype), widens = kiln__is_short(x->dtype);
  KILN_TRY(kiln__cl_takes(ctx, narrows ? x->dtype : y->dtype));
  if (!narrows && !widens) KILN_TRY(kiln__cl_takes(ctx, x->dtype));
  kiln__spans spans = kiln__spans_strided((const kiln_tensor *[]){y, x}, 2);
  kiln_dtype narrow = narrows ? y->dtype : x->dtype;
  if (kiln__is_narrow(narrow) && !scale && !random) {
    return kiln__cl_map(ctx, kiln__cl_of(KILN_CL_ELEMENTWISE, narrow), narrows ? "narrow" : "widen", &spans, 8, NULL,
                        0);
  }
  kiln__narrow_type t = kiln__narrow_type_of(narrow);
  const kiln__random words = random ? *random : (kiln__random){0};
  const kiln__cl_arg args[] = {CL_AT(scale), CL_STRUCT(t), CL_RANDOM(words), CL_INT(random != NULL)};
  if (narrows) {
    return kiln__cl_map(ctx, KILN_CL_QUANT, t.bits == 8 ? "narrow_uchar" : "narrow_ushort", &spans, 1, args, 5);
  }
  if (widens) {
    return kiln__cl_map(ctx, KILN_CL_QUANT, t.bits == 8 ? "widen_uchar" : "widen_ushort", &spans, 1, args, 2);
  }
  return kiln__cl_map(ctx, KILN_CL_QUANT, "scaled", &spans, 1, args, 1);
}

kiln_status kiln__map_opencl(kiln_context *ctx, kiln__map_kind kind, const void **out) {
  kiln__dynamic_map map;
  if (!ctx->cl->maps[kind]) kiln__dynamic_map_make(&map, kind);
  KILN_TRY(kiln__cl_constant(ctx, &ctx->cl->maps[kind], &map, sizeof map));
  *out = ctx->cl->maps[kind];
  return KILN_OK;
}

kiln_status kiln__to_dynamic_opencl(kiln_context *ctx, const void *codes, const void *scales, const void *x,
                                    kiln__map_kind kind, int64_t count) {
  const void *map;
  KILN_TRY(kiln__map_opencl(ctx, kind, &map));
  return KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "dynamic_quantize",
                        kiln__cl_each(kiln__ceil_div(count, KILN_QUANT_BLOCK), 1, 1), CL_AT(codes), CL_AT(scales),
                        CL_AT(x), CL_AT(map), CL_LONG(count));
}

kiln_status kiln__from_dynamic_opencl(kiln_context *ctx, const void *y, const void *codes, const void *scales,
                                      kiln__map_kind kind, int64_t count) {
  const void *map;
  KILN_TRY(kiln__map_opencl(ctx, kind, &map));
  return KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "dynamic_dequantize", kiln__cl_each(count, 1, 1), CL_AT(y), CL_AT(codes),
                        CL_AT(scales), CL_AT(map), CL_LONG(count));
}
