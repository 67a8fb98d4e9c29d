// Products of int8 by int8 by instructions that add four products of a byte without and one with a sign to an int32
// (vpdpbusd): a packed unit is a quad that follows each other along k. b is kept as b + 128, so that a strip of a ends
// with one more unit for each row, -128 times the row's sum, from which the sums start. They are exact, and so is their
// conversion to fp32 after a run of k: see int8_kernel.h. What the macros mean: fma_kernel.h.
#undef GEMM
#undef GEMM_UNIT
#undef GEMM_STEPS
#undef GEMM_TAIL
#undef GEMM_READ
#undef GEMM_READ4
#undef GEMM_MADD
#undef GEMM_UNROLL_STEPS
#undef GEMM_START
#undef GEMM_TOTAL
#undef GEMM_KC
#define GEMM(name) name##_i8
#define GEMM_UNIT 4
#define GEMM_STEPS 4
#define GEMM_TAIL 1
#define GEMM_READ(x, along, k) gemm_quad_i8(x, along, k)
#define GEMM_READ4(x) v4_load((const float *)(x))
#define GEMM_MADD(a, b, sum) (vf)gemm_multiply_quads((vi)(a), (vi)(b), (vi)(sum))
#define GEMM_UNROLL_STEPS _Pragma("clang loop unroll_count(4)")
#define GEMM_START(a, units, i) vf_set((a)[(units) * KILN_GEMM_MR + (i)])
#define GEMM_TOTAL(sum) __builtin_convertvector((vi)(sum), vf)
#define GEMM_KC 1024

// sum + the four products of a's bytes with a sign and b's without.
VEC vi gemm_multiply_quads(vi a, vi b, vi sum) {
#if KILN_VL == 16
  return (vi)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)b, (__m512i)a);
#else
  for (int shift = 24; shift >= 0; shift -= 8) sum += (a << shift >> 24) * (b << shift >> 24 & 0xff);
  return sum;
#endif
}

VEC float gemm_quad_i8(const int8_t *x, int64_t along, int64_t k) {
  int8_t quad[4];
  for (int i = 0; i < 4; i++) quad[i] = i < k ? x[i * along] : 0;
  float unit;
  memcpy(&unit, quad, sizeof unit);
  return unit;
}

#include "gemm/tile_kernel.h"
#include "gemm/part_kernel.h"

#define ELEMENT int8_t
#define KER(name) name##_quads
#include "gemm/pack_kernel.h"
#undef ELEMENT
#undef KER

// -128 times the sum of each row of a strip of `units`, after them.
static void gemm_end_strip_of_a(int32_t *strip, int64_t units) {
  int32_t *end = strip + units * KILN_GEMM_MR;
  for (int i = 0; i < KILN_GEMM_MR; i++) end[i] = 0;
  for (int64_t j = 0; j < units; j++, strip += KILN_GEMM_MR) {
    for (int i = 0; i < KILN_GEMM_MR; i++) {
      for (int byte = 0; byte < 4; byte++) end[i] -= 128 * (int8_t)(strip[i] >> 8 * byte);
    }
  }
}

// + 128 in each byte.
static void gemm_end_strip_of_b(int32_t *strip, int64_t units) {
  for (int64_t i = 0; i < units * KILN_GEMM_NR; i++) strip[i] ^= (int32_t)0x80808080;
}

VEC void gemm_pack_quads(kiln__gemm_pack *pack, void (*end)(int32_t *, int64_t), int width, char *dst, const int8_t *x,
                         int64_t across, int64_t along, int64_t extent, int64_t k, int64_t strips) {
  int64_t units = kiln__ceil_div(k, GEMM_UNIT), size = (units + GEMM_TAIL) * width * (int64_t)sizeof(float);
  for (int64_t s = 0; s < strips; s++, dst += size) {
    pack(dst, x + s * width * across, across, along, extent - s * width, k, 1);
    end((int32_t *)dst, units);
  }
}

static void gemm_pack_a_i8(void *dst, const void *x, int64_t across, int64_t along, int64_t extent, int64_t k,
                           int64_t strips) {
  gemm_pack_quads(gemm_pack_a_quads, gemm_end_strip_of_a, KILN_GEMM_MR, dst, x, across, along, extent, k, strips);
}

static void gemm_pack_b_i8(void *dst, const void *x, int64_t across, int64_t along, int64_t extent, int64_t k,
                           int64_t strips) {
  gemm_pack_quads(gemm_pack_b_quads, gemm_end_strip_of_b, KILN_GEMM_NR, dst, x, across, along, extent, k, strips);
}

static const kiln__gemm_kernels gemm_kernels_i8 = {
    .mr = KILN_GEMM_MR, .nr = KILN_GEMM_NR, .item = 1, .steps = GEMM_STEPS, .tail = GEMM_TAIL * sizeof(float),
    .kc = GEMM_KC, .mc = KILN_GEMM_MC, .pack_a = gemm_pack_a_i8, .pack_b = gemm_pack_b_i8, .packed = gemm_packed_i8};
