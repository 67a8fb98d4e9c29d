// Signed bytes with a scale for each tile of a matrix.
#include "quant/block.h"
#include "quant/opencl.h"

// Rows are read and written in stretches: of at most KILN_QUANT_BLOCK columns where they pass a buffer. Narrow tiles
// share stretches, of at most STRIP columns; there the maxima and the scales are kept by column.
enum { STRIP = 1024, BAND = 64 };

typedef struct int8_task {
  const kiln__quant_kernels *kernels;
  kiln_dtype dtype;                      // of x or y
  kiln__rows x, q;
  float *scales;
  int64_t tile_rows, tile_cols, across;  // across: tiles beside each other
  bool stochastic;
  kiln__random random;
  int64_t bands_per_tile;                // of at most BAND rows, where a tile is cut
  float *partial;                        // the largest magnitudes of each band by tile
} int8_task;

static bool is_narrow(const int8_task *t) { return t->tile_cols < KILN_QUANT_BLOCK; }

static const float *read_x(const int8_task *t, float *buffer, int64_t row, int64_t col, int64_t n) {
  return kiln__read_block(t->kernels, buffer, kiln__at(t->x.data, t->dtype, row * t->x.stride + col), t->dtype, n);
}

static int64_t stretch(const int8_task *t, int64_t col, int64_t end) {
  return t->dtype == KILN_F32 && !t->stochastic ? end - col : kiln__min(KILN_QUANT_BLOCK, end - col);
}

// Columns of whole tiles that are treated together: of narrow tiles or of one.
static int64_t strip(const int8_task *t, int64_t col) {
  int64_t cols = is_narrow(t) ? STRIP / t->tile_cols * t->tile_cols : t->tile_cols;
  return kiln__min(cols, t->x.cols - col);
}

// Of magnitudes and NaN, which is the larger one.
static float larger(float a, float b) { return kiln__bits_from_f32(a) > kiln__bits_from_f32(b) ? a : b; }

static void narrow_absmax(const int8_task *t, int64_t row, int64_t end, int64_t col, int64_t cols, float *amax) {
  float column[STRIP] = {0}, values[KILN_QUANT_BLOCK];
  for (; row < end; row++) {
    for (int64_t c = 0, n; c < cols; c += n) {
      n = stretch(t, c, cols);
      t->kernels->absmax_columns(column + c, read_x(t, values, row, col + c, n), n);
    }
  }
  for (int64_t c = 0; c < cols; c += t->tile_cols) *amax++ = t->kernels->absmax(column + c, t->tile_cols);
}

static float wide_absmax(const int8_task *t, int64_t row, int64_t end, int64_t col, int64_t cols) {
  float amax = 0, values[KILN_QUANT_BLOCK];
  for (; row < end; row++) {
    for (int64_t c = 0, n; c < cols; c += n) {
      n = stretch(t, c, cols);
      amax = larger(amax, t->kernels->absmax(read_x(t, values, row, col + c, n), n));
    }
  }
  return amax;
}

// The largest magnitudes of the rows row ..< end, by tile.
static void band_absmax(const int8_task *t, int64_t row, int64_t end, float *amax) {
  for (int64_t col = 0, cols; col < t->x.cols; col += cols) {
    cols = strip(t, col);
    if (is_narrow(t)) narrow_absmax(t, row, end, col, cols, amax + col / t->tile_cols);
    else amax[col / t->tile_cols] = wide_absmax(t, row, end, col, cols);
  }
}

// The scales of a strip as the kernels take them, with their stride: by column for narrow tiles.
static const float *strip_scales(const int8_task *t, float *column, const float *scales, int64_t col, int64_t cols) {
  scales += col / t->tile_cols;
  if (!is_narrow(t) || t->tile_cols == 1) return scales;
  for (int64_t c = 0; c < cols; c++) column[c] = scales[c / t->tile_cols];
  return column;
}

static void quantize_stretches(const int8_task *t, int64_t row, int64_t col, int64_t cols, const float *scale) {
  float values[KILN_QUANT_BLOCK];
  uint32_t buffer[KILN_RANDOM_BUFFER(KILN_QUANT_BLOCK)];
  int64_t stride = is_narrow(t);
  int8_t *q = (int8_t *)t->q.data + row * t->q.stride + col;
  for (int64_t c = 0, n; c < cols; c += n) {
    n = stretch(t, c, cols);
    int64_t first = row * t->x.cols + col + c;
    const uint32_t *words = t->stochastic ? t->kernels->words(buffer, &t->random, first, n) : NULL;
    t->kernels->to_int8(q + c, read_x(t, values, row, col + c, n), scale + c * stride, stride, words, n);
  }
}

static void dequantize_stretches(const int8_task *t, int64_t row, int64_t col, int64_t cols, const float *scale) {
  float values[KILN_QUANT_BLOCK];
  int64_t stride = is_narrow(t);
  const int8_t *q = (const int8_t *)t->q.data + row * t->q.stride + col;
  for (int64_t c = 0, n; c < cols; c += n) {
    n = stretch(t, c, cols);
    void *y = kiln__at(t->x.data, t->dtype, row * t->x.stride + col + c);
    float *open = kiln__open_block(values, y, t->dtype);
    t->kernels->from_int8(open, q + c, scale + c * stride, stride, n);
    kiln__write_block(t->kernels, y, open, t->dtype, n);
  }
}

typedef void (*stretches)(const int8_task *t, int64_t row, int64_t col, int64_t cols, const float *scale);

// Rows of one row of tiles.
static void for_stretches(const int8_task *t, int64_t row, int64_t end, stretches body) {
  float column[STRIP];
  for (int64_t col = 0, cols; col < t->x.cols; col += cols) {
    cols = strip(t, col);
    const float *scale = strip_scales(t, column, t->scales + row / t->tile_rows * t->across, col, cols);
    for (int64_t r = row; r < end; r++) body(t, r, col, cols, scale);
  }
}

// From the largest magnitudes, where they stand.
static void make_scales(float *amax, int64_t n) {
  for (int64_t i = 0; i < n; i++) amax[i] = amax[i] <= FLT_MAX ? amax[i] / 127 : NAN;
}

static int64_t tiles_per_chunk(const int8_task *t) {
  return kiln__ceil_div(KILN_QUANT_CHUNK, t->tile_rows * t->x.cols);
}

// Whole rows of tiles, which are quantised while they are in the cache.
static void quantize_tiles(void *arg, int64_t chunk, int thread) {
  (void)thread;
  const int8_task *t = arg;
  int64_t first = chunk * tiles_per_chunk(t), last = kiln__min(first + tiles_per_chunk(t), t->x.rows / t->tile_rows);
  for (int64_t tile = first; tile < last; tile++) {
    int64_t row = tile * t->tile_rows, end = row + t->tile_rows;
    float *scales = t->scales + tile * t->across;
    band_absmax(t, row, end, scales);
    make_scales(scales, t->across);
    for_stretches(t, row, end, quantize_stretches);
  }
}

static void band_rows(const int8_task *t, int64_t band, int64_t *row, int64_t *end) {
  int64_t tile = band / t->bands_per_tile, first = tile * t->tile_rows;
  *row = first + band % t->bands_per_tile * BAND;
  *end = kiln__min(*row + BAND, first + t->tile_rows);
}

static void absmax_chunk(void *arg, int64_t band, int thread) {
  (void)thread;
  const int8_task *t = arg;
  int64_t row, end;
  band_rows(t, band, &row, &end);
  band_absmax(t, row, end, t->partial + band * t->across);
}

static void quantize_chunk(void *arg, int64_t band, int thread) {
  (void)thread;
  const int8_task *t = arg;
  int64_t row, end;
  band_rows(t, band, &row, &end);
  for_stretches(t, row, end, quantize_stretches);
}

static void dequantize_chunk(void *arg, int64_t band, int thread) {
  (void)thread;
  const int8_task *t = arg;
  int64_t row, end;
  band_rows(t, band, &row, &end);
  for_stretches(t, row, end, dequantize_stretches);
}

// Tiles of many rows, cut into bands: first the scales, then everything once more.
static kiln_status quantize_tall(kiln_context *ctx, int8_task *t) {
  int64_t down = t->x.rows / t->tile_rows, bands = down * t->bands_per_tile;
  KILN_TRY(kiln__scratch(ctx, (size_t)(bands * t->across) * sizeof(float), (void **)&t->partial));
  if (ctx->query) return KILN_OK;
  kiln__parallel_for(ctx, bands, absmax_chunk, t);
  memset(t->scales, 0, (size_t)(down * t->across) * sizeof(float));
  for (int64_t band = 0; band < bands; band++) {
    float *scales = t->scales + band / t->bands_per_tile * t->across;
    t->kernels->absmax_columns(scales, t->partial + band * t->across, t->across);
  }
  make_scales(t->scales, down * t->across);
  kiln__parallel_for(ctx, bands, quantize_chunk, t);
  return KILN_OK;
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
  t->bands_per_tile = kiln__ceil_div(t->tile_rows, BAND);
  return KILN_OK;
}

static kiln__cl_tiles tiles_of(const int8_task *t) {
  return (kiln__cl_tiles){t->x.rows, t->x.cols, t->x.stride, t->q.stride, t->tile_rows, t->tile_cols, t->across};
}

static kiln_status quantize_opencl(kiln_context *ctx, const int8_task *t) {
  kiln__cl_tiles tiles = tiles_of(t);
  KILN_TRY(kiln__cl_takes(ctx, t->dtype));
  KILN_TRY(KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "int8_scales",
                          kiln__cl_each(t->x.rows / t->tile_rows * t->across, 1, 1), CL_AT(t->scales), CL_AT(t->x.data),
                          CL_STRUCT(tiles)));
  return KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "int8_quantize", kiln__cl_each(t->x.rows * t->x.cols, 1, 1),
                        CL_AT(t->q.data), CL_AT(t->x.data), CL_AT(t->scales), CL_STRUCT(tiles), CL_RANDOM(t->random),
                        CL_INT(t->stochastic));
}

static kiln_status dequantize_opencl(kiln_context *ctx, const int8_task *t) {
  kiln__cl_tiles tiles = tiles_of(t);
  KILN_TRY(kiln__cl_takes(ctx, t->dtype));
  return KILN_CL_LAUNCH(ctx, KILN_CL_QUANT, "int8_dequantize", kiln__cl_each(t->x.rows * t->x.cols, 1, 1),
                        CL_AT(t->x.data), CL_AT(t->q.data), CL_AT(t->scales), CL_STRUCT(tiles));
}

kiln_status kiln_quantize_int8(kiln_context *ctx, const kiln_tensor *q, const kiln_tensor *scales,
                               const kiln_tensor *x, const kiln_rounding_options *options) {
  KILN_TRY(kiln__begin_device(ctx, "quantize_int8"));
  int8_task t = {0};
  kiln_rounding rounding;
  KILN_TRY(kiln__rounding(ctx, options, &rounding, &t.random));
  KILN_TRY(check(ctx, "x", x, q, scales, &t));
  t.stochastic = rounding == KILN_ROUND_STOCHASTIC;
  if (t.x.rows == 0 || t.x.cols == 0) return KILN_OK;
  if (ctx->cl) return quantize_opencl(ctx, &t);
  if (t.tile_rows > BAND) return quantize_tall(ctx, &t);
  if (!ctx->query) {
    kiln__parallel_for(ctx, kiln__ceil_div(t.x.rows / t.tile_rows, tiles_per_chunk(&t)), quantize_tiles, &t);
  }
  return KILN_OK;
}

kiln_status kiln_dequantize_int8(kiln_context *ctx, const kiln_tensor *y, const kiln_tensor *q,
                                 const kiln_tensor *scales) {
  KILN_TRY(kiln__begin_device(ctx, "dequantize_int8"));
  int8_task t = {0};
  KILN_TRY(check(ctx, "y", y, q, scales, &t));
  if (ctx->cl) return dequantize_opencl(ctx, &t);
  if (ctx->query || t.x.rows == 0 || t.x.cols == 0) return KILN_OK;
  kiln__parallel_for(ctx, t.x.rows / t.tile_rows * t.bands_per_tile, dequantize_chunk, &t);
  return KILN_OK;
}
