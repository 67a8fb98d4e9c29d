// Products of bf16 by AMX: 2 x 2 of its tiles hold the 32 x 32 sums. tdpbf16ps multiplies 16 rows of 32 steps, row
// after row, with the pairs of 16 columns.
#define GEMM_STEPS 32

#include "gemm/pair_kernel.h"

enum { AMX_ROWS = 16, AMX_UNITS = 16, AMX_ROW = 64 };  // rows of a tile, units in one, bytes of one

// What ldtilecfg reads.
typedef struct amx_config {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} amx_config;

VEC void amx_configure(void) {
  amx_config config = {.palette = 1};
  for (int tile = 0; tile < 8; tile++) {
    config.row_bytes[tile] = AMX_ROW;
    config.rows[tile] = AMX_ROWS;
  }
  _tile_loadconfig(&config);
}

VEC void amx_store(float *c, int64_t ldc) {
  _tile_stored(0, c, ldc * 4);
  _tile_stored(1, c + AMX_UNITS, ldc * 4);
  _tile_stored(2, c + AMX_ROWS * ldc, ldc * 4);
  _tile_stored(3, c + AMX_ROWS * ldc + AMX_UNITS, ldc * 4);
}

// One strip of a times one strip of b.
static void gemm_tile(const float *a, const float *b, int64_t units, const gemm_plain_end *end) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t x = 0; x < units; x += AMX_UNITS, a += KILN_GEMM_MR * AMX_UNITS, b += KILN_GEMM_NR * AMX_UNITS) {
    _tile_loadd(4, a, AMX_ROW);
    _tile_loadd(6, b, KILN_GEMM_NR * 4);
    _tile_loadd(7, b + AMX_UNITS, KILN_GEMM_NR * 4);
    _tile_loadd(5, a + AMX_ROWS * AMX_UNITS, AMX_ROW);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  if (!end->carry && end->alpha == 1 && !end->accumulate) {
    amx_store(end->c, end->ldc);
    return;
  }
  _Alignas(KILN_ALIGNMENT) float sums[KILN_GEMM_MR * KILN_GEMM_NR];
  amx_store(sums, KILN_GEMM_NR);
  for (int i = 0; i < KILN_GEMM_MR; i++) {
    for (int j = 0; j < KILN_GEMM_NR; j += KILN_VL) gemm_end_vector(end, i, j, vf_load(sums + i * KILN_GEMM_NR + j));
  }
}

// sums [mr] = one strip of a, summed over k.
static void gemm_sum_strip_of_a(const float *a, int64_t units, float *sums) {
  for (int i = 0; i < KILN_GEMM_MR; i++) {
    vf sum = vf_set(0);
    for (int64_t x = 0; x < units; x += AMX_UNITS) {
      const kiln__bf16 *row = (const kiln__bf16 *)(a + x * KILN_GEMM_MR + i * AMX_UNITS);
      sum = sum + vf_load(row) + vf_load(row + KILN_VL);
    }
    sums[i] = vf_sum(sum);
  }
}

#include "gemm/part_kernel.h"
#include "gemm/sum_kernel.h"

// The tiles are this thread's from here to the end of the part.
static void amx_packed(const kiln__gemm_finish *f, const kiln__gemm_part *p, const void *a, const void *b, int64_t k) {
  amx_configure();
  gemm_packed(f, p, a, b, k);
  _tile_release();
}

// Four pairs, side by side, of two steps.
VEC v4 amx_interleave(const kiln__bf16 *x, int64_t along) {
  typedef uint16_t u16x4 __attribute__((ext_vector_type(4)));
  u16x4 first, second;
  memcpy(&first, x, sizeof first);
  memcpy(&second, x + along, sizeof second);
  return (v4)__builtin_shufflevector(first, second, 0, 4, 1, 5, 2, 6, 3, 7);
}

// 32 steps of a strip of a: dst[i * 16 + j] = pair j of row i. `rows` rows and k steps are there.
VEC void amx_pack_block(float *dst, const kiln__bf16 *x, int64_t across, int64_t along, int64_t rows, int64_t k) {
  bool whole = rows >= KILN_GEMM_MR && k >= GEMM_STEPS;
  if (whole && along == 1) {
    for (int i = 0; i < KILN_GEMM_MR; i++) memcpy(dst + i * AMX_UNITS, x + i * across, AMX_ROW);
    return;
  }
  if (whole && across == 1) {
    for (int j = 0; j < AMX_UNITS; j += 4) {
      for (int i = 0; i < KILN_GEMM_MR; i += 4) {
        v4 pair[4];
        GEMM_UNROLL
        for (int p = 0; p < 4; p++) pair[p] = amx_interleave(x + (j + p) * GEMM_UNIT * along + i, along);
        v4_store_transposed(dst + i * AMX_UNITS + j, AMX_UNITS, pair[0], pair[1], pair[2], pair[3]);
      }
    }
    return;
  }
  for (int i = 0; i < KILN_GEMM_MR; i++) {
    for (int j = 0; j < AMX_UNITS; j++) {
      const kiln__bf16 *from = x + i * across + j * GEMM_UNIT * along;
      dst[i * AMX_UNITS + j] = i < rows ? gemm_pair(from, along, k - j * GEMM_UNIT) : 0;
    }
  }
}

// Along the direction in which x is dense.
static void amx_pack_a(void *dst, const void *x, int64_t across, int64_t along, int64_t extent, int64_t k,
                       int64_t strips) {
  int64_t blocks = kiln__ceil_div(k, GEMM_STEPS);
  for (int64_t block = 0; block < strips * blocks; block++) {
    int64_t s = across == 1 ? block % strips : block / blocks, j = across == 1 ? block / strips : block % blocks;
    int64_t row = s * KILN_GEMM_MR, step = j * GEMM_STEPS;
    amx_pack_block((float *)dst + (s * blocks + j) * KILN_GEMM_MR * AMX_UNITS,
                   (const kiln__bf16 *)x + row * across + step * along, across, along, extent - row, k - step);
  }
}

static const kiln__gemm_kernels gemm_kernels = {
    .direct = gemm_direct, .prefers_direct = gemm_prefers_direct,
    .mr = KILN_GEMM_MR, .nr = KILN_GEMM_NR, .item = sizeof(kiln__bf16), .steps = GEMM_STEPS,
    .kc = KILN_GEMM_KC, .mc = KILN_GEMM_MC,
    .pack_a = amx_pack_a, .pack_b = gemm_pack_b_bf16, .sum_a = gemm_sum_a, .sum_b = gemm_sum_b,
    .packed = amx_packed};
