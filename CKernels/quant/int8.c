// Signed bytes with a scale for each tile of a matrix.
#include "quant/block.h"

// A tile is read and written in stretches of a row, of at most KILN_QUANT_BLOCK columns where it passes a buffer.
typedef struct int8_task {
  const kiln__quant_kernels *kernels;
  kiln_dtype dtype;             // of x or y
  kiln__rows x, q;
  float *scales;
  int64_t tile_rows, tile_cols, across;  // across: tiles beside each other
  int64_t strip, strips;        // columns of one chunk, whole tiles, and how many chunks lie beside each other
  int64_t bands;                // tiles of one chunk, one below the other
  bool stochastic;
  kiln__random random;
} int8_task;

static const float *read_x(const int8_task *t, float *buffer, int64_t row, int64_t col, int64_t n) {
  return kiln__read_block(t->kernels, buffer, kiln__at(t->x.data, t->dtype, row * t->x.stride + col), t->dtype, n);
}

static int64_t stretch(const int8_task *t, int64_t col, int64_t end) {
  return t->dtype == KILN_F32 && !t->stochastic ? end - col : kiln__min(KILN_QUANT_BLOCK, end - col);
}

// Columns col ..< end of a row, whose scales lie at `scale` with the stride 0 or 1.
static void quantize_row(const int8_task *t, int64_t row, int64_t col, int64_t end, const float *scale,
                         int64_t stride) {
  float values[KILN_QUANT_BLOCK];
  uint32_t buffer[KILN_RANDOM_BUFFER(KILN_QUANT_BLOCK)];
  int8_t *q = (int8_t *)t->q.data + row * t->q.stride;
  for (int64_t n; col < end; col += n, scale += n * stride) {
    n = stretch(t, col, end);
    const uint32_t *words = t->stochastic ? t->kernels->words(buffer, &t->random, row * t->x.cols + col, n) : NULL;
    t->kernels->to_int8(q + col, read_x(t, values, row, col, n), scale, stride, words, n);
  }
}

static float row_absmax(const int8_task *t, int64_t row, int64_t col, int64_t end) {
  float values[KILN_QUANT_BLOCK], amax[2] = {0, 0};
  for (int64_t n; col < end; col += n) {
    n = stretch(t, col, end);
    amax[1] = t->kernels->absmax(read_x(t, values, row, col, n), n);
    amax[0] = t->kernels->absmax(amax, 2);
  }
  return amax[0];
}

static float scale_of(float amax) { return amax <= FLT_MAX ? amax / 127 : NAN; }

static void quantize_tile(const int8_task *t, int64_t down, int64_t along) {
  int64_t row = down * t->tile_rows, rows = row + t->tile_rows, col = along * t->tile_cols, end = col + t->tile_cols;
  float amax[2] = {0, 0}, *scale = t->scales + down * t->across + along;
  for (int64_t r = row; r < rows; r++) {
    amax[1] = row_absmax(t, r, col, end);
    amax[0] = t->kernels->absmax(amax, 2);
  }
  *scale = scale_of(amax[0]);
  for (int64_t r = row; r < rows; r++) quantize_row(t, r, col, end, scale, 0);
}

// Tiles one column wide, side by side: the scales of the strip are found and used row by row.
static void quantize_columns(const int8_task *t, int64_t down, int64_t col, int64_t end) {
  int64_t row = down * t->tile_rows, rows = row + t->tile_rows;
  float values[KILN_QUANT_BLOCK], *scale = t->scales + down * t->across;
  memset(scale + col, 0, (size_t)(end - col) * sizeof *scale);
  for (int64_t r = row; r < rows; r++) {
    for (int64_t c = col, n; c < end; c += n) {
      n = stretch(t, c, end);
      t->kernels->absmax_columns(scale + c, read_x(t, values, r, c, n), n);
    }
  }
  for (int64_t c = col; c < end; c++) scale[c] = scale_of(scale[c]);
  for (int64_t r = row; r < rows; r++) quantize_row(t, r, col, end, scale + col, 1);
}

static void quantize_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const int8_task *t = arg;
  int64_t first = chunk / t->strips * t->bands, last = kiln__min(first + t->bands, t->x.rows / t->tile_rows);
  int64_t col = chunk % t->strips * t->strip, end = kiln__min(col + t->strip, t->x.cols);
  for (int64_t down = first; down < last; down++) {
    if (t->tile_cols == 1) quantize_columns(t, down, col, end);
    else for (int64_t along = col / t->tile_cols; along < end / t->tile_cols; along++) quantize_tile(t, down, along);
  }
}

// Rows of a matrix whose one scale is known.
static void quantize_rows(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const int8_task *t = arg;
  int64_t per_chunk = kiln__rows_per_chunk(t->x.cols), end = kiln__min((chunk + 1) * per_chunk, t->x.rows);
  for (int64_t row = chunk * per_chunk; row < end; row++) quantize_row(t, row, 0, t->x.cols, t->scales, 0);
}

static void dequantize_chunk(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const int8_task *t = arg;
  float buffer[KILN_QUANT_BLOCK];
  int64_t per_chunk = kiln__rows_per_chunk(t->x.cols), end = kiln__min((chunk + 1) * per_chunk, t->x.rows);
  for (int64_t row = chunk * per_chunk; row < end; row++) {
    const float *scale = t->scales + row / t->tile_rows * t->across;
    const int8_t *q = (const int8_t *)t->q.data + row * t->q.stride;
    for (int64_t col = 0, n; col < t->x.cols; col += n) {
      int64_t tile_end = t->tile_cols == 1 ? t->x.cols : (col / t->tile_cols + 1) * t->tile_cols;
      n = stretch(t, col, tile_end);
      void *y = kiln__at(t->x.data, t->dtype, row * t->x.stride + col);
      float *values = kiln__open_block(buffer, y, t->dtype);
      t->kernels->from_int8(values, q + col, scale + col / t->tile_cols, t->tile_cols == 1, n);
      kiln__write_block(t->kernels, y, values, t->dtype, n);
    }
  }
}

static kiln_status check(kiln_context *ctx, const char *name, const kiln_tensor *x, const kiln_tensor *q,
                         const kiln_tensor *scales, int8_task *t) {
  KILN_TRY(kiln__check_real(ctx, name, x, &t->dtype));
  KILN_TRY(kiln__check_dtype(ctx, "q", q, KILN_I8));
  KILN_TRY(kiln__check_dtype(ctx, "scales", scales, KILN_F32));
  if (!kiln__same_shape(q, x)) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "shapes differ: q is %s, %s is %s", kiln__shape_text(q).s, name,
                      kiln__shape_text(x).s);
  }
  KILN_TRY(kiln__fold(ctx, name, x, &t->x));
  KILN_TRY(kiln__fold(ctx, "q", q, &t->q));
  bool fits = scales->rank == 2 && scales->shape[0] > 0 && scales->shape[1] > 0 &&
              t->x.rows % scales->shape[0] == 0 && t->x.cols % scales->shape[1] == 0;
  if (!fits) {
    return kiln__fail(ctx, KILN_ERR_SHAPE, "scales is %s, which does not divide the %lld rows and %lld columns of %s",
                      kiln__shape_text(scales).s, (long long)t->x.rows, (long long)t->x.cols, name);
  }
  KILN_TRY(kiln__check_dense(ctx, "scales", scales));
  t->kernels = ctx->kernels[KILN_F32].quant;
  t->scales = kiln__data(scales);
  t->across = scales->shape[1];
  t->tile_rows = t->x.rows / scales->shape[0];
  t->tile_cols = t->x.cols / t->across;
  return KILN_OK;
}

kiln_status kiln_quantize_int8(kiln_context *ctx, const kiln_tensor *q, const kiln_tensor *scales,
                               const kiln_tensor *x, const kiln_rounding_options *options) {
  KILN_TRY(kiln__begin(ctx, "quantize_int8"));
  int8_task t = {0};
  kiln_rounding rounding;
  KILN_TRY(kiln__rounding(ctx, options, &rounding, &t.random));
  KILN_TRY(check(ctx, "x", x, q, scales, &t));
  t.stochastic = rounding == KILN_ROUND_STOCHASTIC;
  if (kiln__count(scales) == 1 && kiln__is_dense(x)) {
    KILN_TRY(kiln__absmax(ctx, t.scales, x));
    if (ctx->query) return KILN_OK;
    *t.scales = scale_of(*t.scales);
    kiln__parallel_for(ctx, kiln__ceil_div(t.x.rows, kiln__rows_per_chunk(t.x.cols)), quantize_rows, &t);
    return KILN_OK;
  }
  if (ctx->query || t.x.rows * t.x.cols == 0) return KILN_OK;
  // A chunk has at least 16 Ki elements where there are so many.
  t.strip = kiln__ceil_div(KILN_QUANT_CHUNK, t.tile_rows);
  t.strip = t.tile_cols == 1 ? kiln__max(128, kiln__round_up(t.strip, 32)) : kiln__round_up(t.strip, t.tile_cols);
  t.strips = kiln__ceil_div(t.x.cols, t.strip);
  t.bands = kiln__ceil_div(KILN_QUANT_CHUNK, t.tile_rows * kiln__min(t.strip, t.x.cols));
  kiln__parallel_for(ctx, kiln__ceil_div(t.x.rows / t.tile_rows, t.bands) * t.strips, quantize_chunk, &t);
  return KILN_OK;
}

kiln_status kiln_dequantize_int8(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *q,
                                 const kiln_tensor *scales) {
  KILN_TRY(kiln__begin(ctx, "dequantize_int8"));
  int8_task t = {0};
  KILN_TRY(check(ctx, "y", y, q, scales, &t));
  if (ctx->query || t.x.rows * t.x.cols == 0) return KILN_OK;
  kiln__parallel_for(ctx, kiln__ceil_div(t.x.rows, kiln__rows_per_chunk(t.x.cols)), dequantize_chunk, &t);
  return KILN_OK;
}
