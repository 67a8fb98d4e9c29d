// Checks and threads of elementwise sums.
#include "opencl/launch.h"

static void add_span(void *arg, void *const *p, int64_t first, int64_t n) {
  (void)first;
  const kiln__elementwise_kernels *kernels = arg;
  kernels->add(p[0], p[1], p[2], n);
}

kiln_status kiln_add(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *a, const kiln_tensor *b) {
  KILN_TRY(kiln__begin_device(ctx, "add"));
  kiln_dtype dtype;
  KILN_TRY(kiln__check_real(ctx, "a", a, &dtype));
  KILN_TRY(kiln__check_like(ctx, "b", b, "a", a));
  KILN_TRY(kiln__check_like(ctx, "y", y, "a", a));
  kiln__spans spans;
  KILN_TRY(kiln__spans_rows(ctx, (const char *[]){"y", "a", "b"}, (const kiln_tensor *[]){y, a, b}, 3, &spans));
  if (ctx->cl) {
    KILN_TRY(kiln__cl_takes_real(ctx, dtype));
    return kiln__cl_map(ctx, kiln__cl_of(KILN_CL_ELEMENTWISE, dtype), "add", &spans, 1, NULL, 0);
  }
  kiln__spans_stream(&spans, 1);
  if (!ctx->query) kiln__for_spans(ctx, &spans, add_span, (void *)ctx->kernels[dtype].elementwise);
  return KILN_OK;
}
