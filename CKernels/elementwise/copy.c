// Copies, conversions and fills.
#include "quant/block.h"
#include "quant/opencl.h"

enum { BLOCK = 256 };

typedef struct copy_task {
  const kiln__quant_kernels *kernels;
  kiln_dtype to, from;
  int64_t sy, sx;  // from element to element of a span
} copy_task;

// From F64 to a narrow type by way of fp32 rounded to odd, so that it is rounded once.
static void narrow_doubles(const copy_task *t, void *y, const double *x, int64_t n) {
  float odd[KILN_QUANT_BLOCK];
  for (int64_t i = 0; i < n; i++) odd[i] = kiln__f32_odd_from_f64(x[i]);
  t->kernels->narrow(y, odd, 1, t->to, NULL, n);
}

// n <= KILN_QUANT_BLOCK elements, one after the other.
static void convert_small(const copy_task *t, void *y, const void *x, int64_t n) {
  float in[KILN_QUANT_BLOCK];
  if (t->from == KILN_F64 && kiln__is_short(t->to)) {
    narrow_doubles(t, y, x, n);
  } else {
    const float *values = kiln__read_block(t->kernels, in, x, t->from, n);
    if (t->to == KILN_F32) memcpy(y, values, (size_t)n * sizeof(float));
    else kiln__write_block(t->kernels, y, values, t->to, n);
  }
}

// n elements, one after the other.
static void convert(const copy_task *t, void *y, const void *x, int64_t n) {
  if (t->to == t->from) {
    memmove(y, x, (size_t)n * kiln_dtype_size(t->to));
  } else if (t->from == KILN_F32 && kiln__is_short(t->to)) {
    t->kernels->narrow(y, x, 1, t->to, NULL, n);
  } else if (t->to == KILN_F32 && kiln__is_short(t->from)) {
    t->kernels->widen(y, x, 1, t->from, n);
  } else {
    for (int64_t i = 0; i < n; i += KILN_QUANT_BLOCK) {
      convert_small(t, kiln__at(y, t->to, i), kiln__at(x, t->from, i), kiln__min(KILN_QUANT_BLOCK, n - i));
    }
  }
}

// Elements of `size` bytes between any strides.
static void move(void *y, int64_t sy, const void *x, int64_t sx, int64_t n, size_t size) {
  switch (size) {
    case 1: for (int64_t i = 0; i < n; i++) ((uint8_t *)y)[i * sy] = ((const uint8_t *)x)[i * sx]; break;
    case 2: for (int64_t i = 0; i < n; i++) ((uint16_t *)y)[i * sy] = ((const uint16_t *)x)[i * sx]; break;
    case 4: for (int64_t i = 0; i < n; i++) ((uint32_t *)y)[i * sy] = ((const uint32_t *)x)[i * sx]; break;
    case 8: for (int64_t i = 0; i < n; i++) ((uint64_t *)y)[i * sy] = ((const uint64_t *)x)[i * sx]; break;
  }
}

// A block that is not contiguous on one side passes through a buffer there.
static void convert_block(const copy_task *t, char *y, const char *x, int64_t n) {
  uint64_t in[BLOCK], out[BLOCK];
  const void *source = x;
  if (t->sx != 1) {
    move(in, 1, x, t->sx, n, kiln_dtype_size(t->from));
    source = in;
  }
  convert(t, t->sy == 1 ? (void *)y : out, source, n);
  if (t->sy != 1) move(y, t->sy, out, 1, n, kiln_dtype_size(t->to));
}

static void copy_span(void *arg, void *const *p, int64_t first, int64_t n) {
  (void)first;
  const copy_task *t = arg;
  bool contiguous = t->sy == 1 && t->sx == 1;
  if (t->to == t->from && !contiguous) {
    move(p[0], t->sy, p[1], t->sx, n, kiln_dtype_size(t->to));
    return;
  }
  int64_t block = contiguous ? n : BLOCK;
  int64_t y_bytes = (int64_t)kiln_dtype_size(t->to) * t->sy, x_bytes = (int64_t)kiln_dtype_size(t->from) * t->sx;
  for (int64_t i = 0; i < n; i += block) {
    convert_block(t, (char *)p[0] + i * y_bytes, (const char *)p[1] + i * x_bytes, kiln__min(block, n - i));
  }
}

// Elements of one type on an OpenCL device, or of a value there.
static kiln_status run_opencl(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x, const void *value) {
  static const char *const copies[] = {"copy_uchar", "copy_ushort", "copy_uint", "copy_ulong"};
  static const char *const fills[] = {"fill_uchar", "fill_ushort", "fill_uint", "fill_ulong"};
  size_t size = kiln_dtype_size(y->dtype);
  int kind = size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3;
  if (y->dtype != x->dtype) return kiln__cast_opencl(ctx, y, x, NULL, NULL);
  kiln__spans spans = kiln__spans_strided((const kiln_tensor *[]){y, x}, value ? 1 : 2);
  kiln__cl_arg arg = {value, size};
  return kiln__cl_map(ctx, KILN_CL_ELEMENTWISE, value ? fills[kind] : copies[kind], &spans, 1, &arg, value != NULL);
}

static void run(const kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x) {
  kiln__spans spans = kiln__spans_strided((const kiln_tensor *[]){y, x}, 2);
  kiln__spans_stream(&spans, 1);
  int last = spans.rank - 1;
  copy_task t = {ctx->kernels[KILN_F32].quant, y->dtype, x->dtype, spans.strides[0][last], spans.strides[1][last]};
  kiln__for_spans(ctx, &spans, copy_span, &t);
}

kiln_status kiln_copy(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *x) {
  KILN_TRY(kiln__begin_device(ctx, "copy"));
  KILN_TRY(kiln__check(ctx, "x", x));
  KILN_TRY(kiln__check(ctx, "y", y));
  if (!kiln__same_shape(y, x)) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "shapes differ: y is %s, x is %s", kiln__shape_text(y).s,
                      kiln__shape_text(x).s);
  }
  if (y->dtype != x->dtype && !(kiln__is_floating(y->dtype) && kiln__is_floating(x->dtype))) {
    return kiln__fail(ctx, KILN_ERR_DTYPE, "no conversion from %s to %s", kiln_dtype_name(x->dtype),
                      kiln_dtype_name(y->dtype));
  }
  if (ctx->cl) return run_opencl(ctx, y, x, NULL);
  if (!ctx->query) run(ctx, y, x);
  return KILN_OK;
}

// The least value of an integer type and the least above its range, both exact in fp64.
static void integer_range(kiln_dtype dtype, double *low, double *end) {
  bool is_signed = dtype != KILN_U8;
  int bits = (int)kiln_dtype_size(dtype) * 8;
  *low = is_signed ? -ldexp(1, bits - 1) : 0;
  *end = ldexp(1, is_signed ? bits - 1 : bits);
}

kiln_status kiln_fill(kiln_context *ctx, const kiln_tensor *y, double value) {
  KILN_TRY(kiln__begin_device(ctx, "fill"));
  KILN_TRY(kiln__check(ctx, "y", y));
  uint64_t element = 0;
  if (kiln__is_floating(y->dtype)) {
    convert(&(copy_task){ctx->kernels[KILN_F32].quant, y->dtype, KILN_F64, 1, 1}, &element, &value, 1);
  } else {
    double low, end;
    integer_range(y->dtype, &low, &end);
    if (!(value >= low && value < end) || value != floor(value)) {
      return kiln__fail(ctx, KILN_ERR_OPTION, "y is %s, which does not hold %g", kiln_dtype_name(y->dtype), value);
    }
    int64_t integer = (int64_t)value;
    memcpy(&element, &integer, sizeof element);  // little-endian: narrower types are its first bytes
  }
  if (ctx->cl) return run_opencl(ctx, y, y, &element);
  kiln_tensor x = *y;
  x.data = &element;
  x.offset = 0;
  memset(x.strides, 0, sizeof x.strides);
  if (!ctx->query) run(ctx, y, &x);
  return KILN_OK;
}
