// The gradient of a bias.
#include "opencl/launch.h"

kiln_status kiln_bias_bwd(kiln_context *ctx, const kiln_tensor *dbias, const kiln_tensor *dy,
                          const kiln_bias_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "bias_bwd"));
  kiln_bias_options o = kiln_bias_defaults();
  KILN_TRY(kiln__options(ctx, &o, sizeof o, options));
  kiln_dtype dtype;
  kiln__rows rows;
  KILN_TRY(kiln__check_real(ctx, "dy", dy, &dtype));
  KILN_TRY(kiln__fold(ctx, "dy", dy, &rows));
  KILN_TRY(kiln__check(ctx, "dbias", dbias));
  KILN_TRY(kiln__check_vector(ctx, "dbias", dbias, kiln__wide(dtype), rows.cols));
  if (ctx->cl) {
    KILN_TRY(kiln__cl_takes_real(ctx, dtype));
    return kiln__sum_rows_opencl(ctx, dtype, kiln__data(dbias), &rows, o.accumulate);
  }
  if (ctx->query || rows.cols == 0) return KILN_OK;
  kiln__sum_rows(ctx, dtype, kiln__data(dbias), &rows, o.accumulate);
  return KILN_OK;
}
