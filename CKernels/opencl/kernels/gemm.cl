// Products of packed panels, in fp32: a tile of MR x NR sums stays in registers while a panel of MR rows of a and one
// of NR columns of b stream past it. The host says which tile it is (opencl/tile.c): one of a single item with its
// vectors, for CPUs, whose panels are read from the caches; or, with ITEMS, one of ITEMS x ITEMS items that share it,
// for GPUs, whose panels are read through local memory, DEPTH of k at a time.

#ifndef ITEMS
enum { NR = 2 * LANES };
#endif

// Of packed panels, element (k, w): `group` of k lie side by side.
static inline long place_in_panel(const long k, const int w, const int width, const int group) {
  return k / group * group * width + w * group + k % group;
}

// 8 rows of 8, from rows `across` apart to rows `width` apart, transposed.
static inline void transpose8(__global float *to, const int width, __global const real *from, const long across) {
#define LINE(r) const float8 x##r = get8(from + r * across);
  LINE(0) LINE(1) LINE(2) LINE(3) LINE(4) LINE(5) LINE(6) LINE(7)
#define PAIRS(p, a, b)                                                                                \
  const float8 p##l = (float8)(a.s0, b.s0, a.s1, b.s1, a.s4, b.s4, a.s5, b.s5);                      \
  const float8 p##h = (float8)(a.s2, b.s2, a.s3, b.s3, a.s6, b.s6, a.s7, b.s7);
  PAIRS(p0, x0, x1) PAIRS(p1, x2, x3) PAIRS(p2, x4, x5) PAIRS(p3, x6, x7)
#define FOURS(q, a, b)                                     \
  const float8 q##0 = (float8)(a.s01, b.s01, a.s45, b.s45); \
  const float8 q##1 = (float8)(a.s23, b.s23, a.s67, b.s67);
  FOURS(q0, p0l, p1l) FOURS(q1, p0h, p1h) FOURS(q2, p2l, p3l) FOURS(q3, p2h, p3h)
#define COLUMNS(c, a, b)                                \
  vstore8((float8)(a.lo, b.lo), 0, to + c * width);     \
  vstore8((float8)(a.hi, b.hi), 0, to + (c + 4) * width);
  COLUMNS(0, q00, q20) COLUMNS(1, q01, q21) COLUMNS(2, q10, q30) COLUMNS(3, q11, q31)
}

// Panels of `width` rows of x, 64 of k to an item; rows beyond `extent` are 0.
__kernel void gemm_pack(
    MEMORY(float, out), MEMORY(real, x), const long batch, const long across, const long along, const long extent,
    const long k, const long stride, const int width, const int group) {
  const long panel = get_global_id(0), z = get_global_id(2);
  const long begin = get_global_id(1) * 64, end = min(begin + 64, k);
  __global const real *from = AT(real, x) + z * batch + panel * width * across;
  __global float *to = AT(float, out) + (z * get_global_size(0) + panel) * stride * width;
  const int there = min((long)width, extent - panel * width);
  long i = begin;
  if (group == 4 && along == 1) {
    for (; i + 4 <= end; i += 4) {
      for (int w = 0; w < width; w++) {
        vstore4(w < there ? get4(from + w * across + i) : (float4)(0), 0, to + i * width + w * 4);
      }
    }
  } else if (group == 1 && across == 1 && there == width && width % 16 == 0) {
    for (; i < end; i++) {
      for (int w = 0; w < width; w += 16) vstore16(get16(from + i * along + w), 0, to + i * width + w);
    }
  } else if (group == 1 && across == 1 && panel * width + width + 2 <= extent && width == 6) {
    // Two elements of the next line come along, which that then overwrites.
    for (; i + 1 < end; i++) vstore8(get8(from + i * along), 0, to + i * 6);
  } else if (group == 1 && along == 1 && there == width && width % 8 == 0) {
    for (; i + 8 <= end; i += 8) {
      for (int w = 0; w < width; w += 8) transpose8(to + i * width + w, width, from + w * across + i, across);
    }
  }
  for (; i < end; i++) {
    for (int w = 0; w < width; w++) {
      to[place_in_panel(i, w, width, group)] = w < there ? get(from + w * across + i * along) : 0;
    }
  }
}

// The sums over k of what was packed: the gradient of a bias.
__kernel void gemm_sums(
    MEMORY(float, out), MEMORY(float, packed), const long extent, const long k, const long stride, const int width,
    const int group, const float alpha, const int accumulate) {
  const long i = get_global_id(0);
  if (i >= extent) return;
  __global const float *panel = AT(float, packed) + i / width * stride * width;
  const int w = i % width;
  float4 sums = 0;
  long j = 0;
  for (; j + 4 <= k; j += 4) {
    __global const float *p = panel + j * width + w * group;
    sums += group == 4 ? vload4(0, p) : (float4)(p[0], p[width], p[2 * width], p[3 * width]);
  }
  float sum = sums.x + sums.y + (sums.z + sums.w);
  for (; j < k; j++) sum += panel[place_in_panel(j, w, width, group)];
  AT(float, out)[i] = accumulate ? AT(float, out)[i] + alpha * sum : alpha * sum;
}

// Where a matrix with stride 1 along n lies; what becomes of the sums is in gemm.h.
typedef struct {
  long batch, row;
} matrix;

typedef struct {
  long m, n, stride, tiles;  // `stride`: of panels, along k; `tiles`: strips of MR rows that a work group goes through
  long first_k, last_k;      // what is multiplied now
  matrix c, residual, preactivation, gradient_at;
  float alpha;
  int activation, accumulate, plain;  // `plain`: there is nothing but sums
} product;

// What c, bias and so on are at a place: `pre` and others are addresses, 0 for none.
#define FINISH(name, T, GET, PUT, BIAS)                                                                          \
  static inline void name(                                                                                       \
      const product *g, T sum, __global real *c, __global const float *bias, __global const real *residual,      \
      __global real *pre, __global const real *at) {                                                             \
    sum *= g->alpha;                                                                                             \
    if (bias) sum += BIAS;                                                                                       \
    if (pre) PUT(sum, pre);                                                                                      \
    if (at) sum *= act_slope(g->activation, GET(at));                                                            \
    else if (g->activation) sum = act_value(g->activation, sum);                                                 \
    if (residual) sum += GET(residual);                                                                          \
    if (g->accumulate) sum += GET(c);                                                                            \
    PUT(sum, c);                                                                                                 \
  }
FINISH(finish1, float, get, put, *bias)

// The addresses of element (i, n) of batch z, of what there is.
#define PLACES(i, n)                                                                                           \
  __global real *to = AT(real, c) + z * g.c.batch + (i) * g.c.row + (n);                                       \
  __global const float *with = bias_memory ? AT(float, bias) + (n) : 0;                                        \
  __global const real *plus =                                                                                  \
      residual_memory ? AT(real, residual) + z * g.residual.batch + (i) * g.residual.row + (n) : 0;            \
  __global real *before =                                                                                      \
      pre_memory ? AT(real, pre) + z * g.preactivation.batch + (i) * g.preactivation.row + (n) : 0;           \
  __global const real *slope =                                                                                 \
      gradient_memory ? AT(real, gradient) + z * g.gradient_at.batch + (i) * g.gradient_at.row + (n) : 0;

#define ARGUMENTS                                                                                              \
  MEMORY(real, c), MEMORY(float, a), MEMORY(float, b), MEMORY(float, bias), MEMORY(real, residual),            \
      MEMORY(real, pre), MEMORY(real, gradient), const product g

#ifndef ITEMS

#if LANES == 4
typedef float4 lanes;
#define LOADS(i, p) vload4(i, p)
#define GETS get4
#define PUTS put4
#elif LANES == 8
typedef float8 lanes;
#define LOADS(i, p) vload8(i, p)
#define GETS get8
#define PUTS put8
#else
typedef float16 lanes;
#define LOADS(i, p) vload16(i, p)
#define GETS get16
#define PUTS put16
#endif

#if LANES != 8
ACTIVATIONS(lanes)
#endif
FINISH(finish_lanes, lanes, GETS, PUTS, LOADS(0, bias))

#define ROWS6(F) F(0) F(1) F(2) F(3) F(4) F(5)
#if MR == 12
#define ROWS(F) ROWS6(F) F(6) F(7) F(8) F(9) F(10) F(11)
#else
#define ROWS(F) ROWS6(F)
#endif

#define ZERO(r) lanes c##r##0 = 0, c##r##1 = 0;
#define ADD(r)                   \
  x = pa[A(r)];                  \
  c##r##0 = fma(x, b0, c##r##0); \
  c##r##1 = fma(x, b1, c##r##1);
#define STEP                                                         \
  {                                                                  \
    const lanes b0 = LOADS(2 * u, q), b1 = LOADS(2 * u + 1, q);      \
    lanes x;                                                         \
    ROWS(ADD)                                                        \
  }
// Sums that are all there is to a product are stored at once.
#define FINISH_ROW(r)                                                    \
  if (strip * MR + r < g.m && whole && g.plain) {                        \
    __global real *to = AT(real, c) + z * g.c.batch + (strip * MR + r) * g.c.row + j;   \
    PUTS(c##r##0 * g.alpha + (g.accumulate ? GETS(to) : (lanes)(0)), to);               \
    PUTS(c##r##1 * g.alpha + (g.accumulate ? GETS(to + LANES) : (lanes)(0)), to + LANES); \
  } else if (strip * MR + r < g.m) {                                     \
    const lanes sums[2] = {c##r##0, c##r##1};                            \
    for (int w = 0; w < NR; w += whole ? LANES : 1) {                    \
      if (j + w >= g.n) break;                                           \
      PLACES(strip * MR + r, j + w)                                      \
      if (whole) finish_lanes(&g, w ? c##r##1 : c##r##0, to, with, plus, before, slope); \
      else finish1(&g, ((const float *)sums)[w], to, with, plus, before, slope); \
    }                                                                    \
  }

// A(r): where row r of step u of 4 lies.
#define TILES(name)                                                                                             \
  __kernel void name(ARGUMENTS) {                                                                               \
    const long j = (long)get_global_id(0) * NR, z = get_global_id(2), strips = (g.m + MR - 1) / MR;             \
    __global const float *pb = AT(float, b) + (z * get_global_size(0) * NR + j) * g.stride;                     \
    const long first = (long)get_global_id(1) * g.tiles, last = min(first + g.tiles, strips);                   \
    const bool whole = j + NR <= g.n;                                                                           \
    for (long strip = first; strip < last; strip++) {                                                           \
      __global const float *pa = AT(float, a) + ((z * strips + strip) * g.stride + g.first_k) * MR;             \
      __global const float *q = pb + g.first_k * NR;                                                            \
      ROWS(ZERO)                                                                                                \
      long k = g.first_k;                                                                                       \
      for (; k + 4 <= g.last_k; k += 4, pa += 4 * MR, q += 4 * NR) {                                            \
        { enum { u = 0 }; STEP }                                                                                \
        { enum { u = 1 }; STEP }                                                                                \
        { enum { u = 2 }; STEP }                                                                                \
        { enum { u = 3 }; STEP }                                                                                \
      }                                                                                                         \
      for (int u = 0; u < g.last_k - k; u++) STEP                                                               \
      ROWS(FINISH_ROW)                                                                                          \
    }                                                                                                           \
  }

#define A(r) u * MR + r
TILES(gemm_tiles)
#undef A
#define A(r) r * 4 + u
TILES(gemm_tiles_of_4)

#else

// Item (x, y) of a group has sums of rows y, y + ITEMS, ... and columns x, x + ITEMS, ... of its tile.
enum { TM = MR / ITEMS, TN = NR / ITEMS };

__kernel __attribute__((reqd_work_group_size(ITEMS * ITEMS, 1, 1))) void gemm_tiles(ARGUMENTS) {
  __local float as[DEPTH * MR], bs[DEPTH * NR];
  const int item = get_local_id(0), x = item % ITEMS, y = item / ITEMS;
  const long panel = get_group_id(0), z = get_global_id(2), strips = (g.m + MR - 1) / MR;
  __global const float *pb = AT(float, b) + (z * get_num_groups(0) + panel) * g.stride * NR;
  const long first = (long)get_global_id(1) * g.tiles, last = min(first + g.tiles, strips);
  for (long strip = first; strip < last; strip++) {
    __global const float *pa = AT(float, a) + (z * strips + strip) * g.stride * MR;
    float sums[TM][TN];
    for (int i = 0; i < TM; i++) {
      for (int j = 0; j < TN; j++) sums[i][j] = 0;
    }
    for (long k = g.first_k; k < g.last_k; k += DEPTH) {
      const int deep = min((long)DEPTH, g.last_k - k);
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int i = item; i < DEPTH * MR; i += ITEMS * ITEMS) as[i] = i < deep * MR ? pa[k * MR + i] : 0;
      for (int i = item; i < DEPTH * NR; i += ITEMS * ITEMS) bs[i] = i < deep * NR ? pb[k * NR + i] : 0;
      barrier(CLK_LOCAL_MEM_FENCE);
      for (int d = 0; d < DEPTH; d++) {
        float av[TM], bv[TN];
        for (int i = 0; i < TM; i++) av[i] = as[d * MR + y + i * ITEMS];
        for (int j = 0; j < TN; j++) bv[j] = bs[d * NR + x + j * ITEMS];
        for (int i = 0; i < TM; i++) {
          for (int j = 0; j < TN; j++) sums[i][j] = fma(av[i], bv[j], sums[i][j]);
        }
      }
    }
    for (int i = 0; i < TM; i++) {
      for (int j = 0; j < TN; j++) {
        const long row = strip * MR + y + i * ITEMS, column = panel * NR + x + j * ITEMS;
        if (row >= g.m || column >= g.n) continue;
        PLACES(row, column)
        finish1(&g, sums[i][j], to, with, plus, before, slope);
      }
    }
  }
}
#endif
