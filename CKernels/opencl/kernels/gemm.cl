// Matrix products, in fp32: a tile of MR x NR sums stays in registers while rows of a and columns of b stream past it.
// The host says which tile it is (opencl/tile.c): one of a single item with its vectors, for CPUs, to which a panel of
// b comes from its first caches; or, with ITEMS, one of ITEMS x ITEMS items that share it, for GPUs. Either has b, as it
// lies, come through local memory, DEPTH of k at a time.

// kiln_dtype of operands, which need not be that of c.
enum { FROM_F32 = 0, FROM_F16 = 2, FROM_BF16 = 3 };

static inline float load1(__global const void *x, const long i, const int type) {
  if (type == FROM_BF16) return from_bf16(((__global const ushort *)x)[i]);
  if (type == FROM_F16) return vload_half(i, (__global const half *)x);
  return ((__global const float *)x)[i];
}

// 8 side by side from element i.
static inline float8 load8(__global const void *x, const long i, const int type) {
  if (type == FROM_F32) return vload8(0, (__global const float *)x + i);
  const ushort8 bits = vload8(0, (__global const ushort *)x + i);
  return type == FROM_BF16 ? from_bf16(bits) : from_f16(bits);
}

// An operand: element (w, i), with w across the tile and i along k, is at w * across + i * along.
typedef struct {
  long batch, across, along;
  int type;
} operand;

// out[w] = alpha * the sum of x along k (+ out), 8 of them an item: the gradient of a bias.
__kernel void gemm_sums(
    MEMORY(float, out), MEMORY(uchar, x), const operand o, const long extent, const long k, const float alpha,
    const int accumulate) {
  const long w = get_global_id(0) * 8;
  if (w >= extent) return;
  __global const void *from = AT(uchar, x);
  const int there = min(8L, extent - w);
  float sums[8] = {0};
  if (there == 8 && o.across == 1) {
    float8 all = 0;
    for (long i = 0; i < k; i++) all += load8(from, w + i * o.along, o.type);
    vstore8(all, 0, sums);
  } else {
    for (int v = 0; v < there; v++) {
      for (long i = 0; i < k; i++) sums[v] += load1(from, (w + v) * o.across + i * o.along, o.type);
    }
  }
  for (int v = 0; v < there; v++) {
    __global float *to = AT(float, out) + w + v;
    *to = alpha * sums[v] + (accumulate ? *to : 0);
  }
}

// Where a matrix with stride 1 along n lies; what becomes of the sums is in gemm.h.
typedef struct {
  long batch, row;
} matrix;

typedef struct {
  long m, n, k;
  long row, block;     // of a, `block` strips of MR rows from that row are packed
  long strips, depth;  // a work group goes through so many of them, for so much of k at a time
  operand a, b;
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
  MEMORY(real, c), MEMORY(uchar, a), MEMORY(uchar, b), MEMORY(float, bias), MEMORY(real, residual),            \
      MEMORY(real, pre), MEMORY(real, gradient), const product g

#ifndef ITEMS

enum { NR = 2 * LANES };

#if LANES == 4
typedef float4 lanes;
#define LOADS vload4
#define STORES vstore4
#define GETS get4
#define PUTS put4
#elif LANES == 8
typedef float8 lanes;
#define LOADS vload8
#define STORES vstore8
#define GETS get8
#define PUTS put8
#else
typedef float16 lanes;
#define LOADS vload16
#define STORES vstore16
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

// 8 columns of 8 of k, from columns `across` apart to lines of NR.
static inline void transpose8(
    __local float *to, __global const void *from, const long at, const long across, const int type) {
#define LINE(r) const float8 x##r = load8(from, at + r * across, type);
  LINE(0) LINE(1) LINE(2) LINE(3) LINE(4) LINE(5) LINE(6) LINE(7)
#undef LINE
#define PAIRS(p, a, b)                                                                                \
  const float8 p##l = (float8)(a.s0, b.s0, a.s1, b.s1, a.s4, b.s4, a.s5, b.s5);                      \
  const float8 p##h = (float8)(a.s2, b.s2, a.s3, b.s3, a.s6, b.s6, a.s7, b.s7);
  PAIRS(p0, x0, x1) PAIRS(p1, x2, x3) PAIRS(p2, x4, x5) PAIRS(p3, x6, x7)
#define FOURS(q, a, b)                                     \
  const float8 q##0 = (float8)(a.s01, b.s01, a.s45, b.s45); \
  const float8 q##1 = (float8)(a.s23, b.s23, a.s67, b.s67);
  FOURS(q0, p0l, p1l) FOURS(q1, p0h, p1h) FOURS(q2, p2l, p3l) FOURS(q3, p2h, p3h)
#define COLUMNS(c, a, b)                             \
  vstore8((float8)(a.lo, b.lo), 0, to + c * NR);     \
  vstore8((float8)(a.hi, b.hi), 0, to + (c + 4) * NR);
  COLUMNS(0, q00, q20) COLUMNS(1, q01, q21) COLUMNS(2, q10, q30) COLUMNS(3, q11, q31)
}

// Asks for a line of memory that is wanted soon, since no CPU foresees those that are whole rows apart. To pocl,
// `prefetch` is nothing.
#ifdef __clang__
#define SOON(x, i, type) __builtin_prefetch((__global const char *)(x) + (i) * (type == FROM_F32 ? 4 : 2))
#else
#define SOON(x, i, type) prefetch((__global const char *)(x) + (i) * (type == FROM_F32 ? 4 : 2), 64)
#endif

// The panel of `steps` of k from `begin` of NR columns from j; columns beyond n, and k up to `padded`, are 0.
static inline void pack(
    __local float *to, __global const void *from, const product *g, const long j, const long z, const long begin,
    const int steps, const int padded) {
  const operand o = g->b;
  const long at = z * o.batch + j * o.across, there = g->n - j;
  const int whole = min((long)NR, there) / 8 * 8;
  long done = 0;
  if (o.across == 1) {
    for (; done < steps; done++) {
      // What this item will pack next: a panel further along k, or else of the next columns.
      const long i = begin + done, soon = i + g->depth;
      SOON(from, at + (soon < g->k ? soon * o.along : done * o.along + NR), o.type);
      for (int w = 0; w < whole; w += 8) vstore8(load8(from, at + i * o.along + w, o.type), 0, to + done * NR + w);
    }
  } else if (o.along == 1) {
    done = steps / 8 * 8;
    for (int w = 0; w < whole; w += 8) {
      for (int i = 0; i < done; i += 8) {
        transpose8(to + i * NR + w, from, at + w * o.across + begin + i, o.across, o.type);
      }
    }
  }
  for (int w = 0; w < NR; w++) {
    for (int i = w < whole ? done : 0; i < padded; i++) {
      const bool is_there = w < there && i < steps;
      to[i * NR + w] = is_there ? load1(from, at + w * o.across + (begin + i) * o.along, o.type) : 0;
    }
  }
}

// Rows of a in strips of MR, of which 4 of k lie side by side; rows beyond m and what fills up the last 4 are 0. What
// the sums take at a time, `depth` of k of all strips, lies together.
__kernel void gemm_pack(
    MEMORY(float, out), MEMORY(uchar, a), const operand o, const long row0, const long m, const long k,
    const long depth) {
  const long strip = get_global_id(0), strips = get_global_size(0), z = get_global_id(2), row = row0 + strip * MR;
  const long begin = get_global_id(1) * depth, steps = min(depth, k - begin), padded = (steps + 3) / 4 * 4;
  __global const void *from = AT(uchar, a);
  const long at = z * o.batch + row * o.across + begin * o.along, there = min((long)MR, m - row);
  __global float *to = AT(float, out) + ((z * ((k + 3) / 4 * 4) + begin) * strips + strip * padded) * MR;
  long i = 0;
  if (o.along == 1 && there == MR) {
    for (; i + 8 <= steps; i += 8) {
      for (int r = 0; r < MR; r++) {
        const float8 x = load8(from, at + r * o.across + i, o.type);
        vstore4(x.lo, r, to + i * MR);
        vstore4(x.hi, r, to + (i + 4) * MR);
      }
    }
  } else if (o.across == 1 && row + (MR + 7) / 8 * 8 <= m) {
    for (; i + 4 <= steps; i += 4) {
      for (int r = 0; r < MR; r += 8) {
#define LINE(u) const float8 x##u = load8(from, at + r + (i + u) * o.along, o.type);
        LINE(0) LINE(1) LINE(2) LINE(3)
#undef LINE
#define ROW_OF_4(v) if (r + v < MR) vstore4((float4)(x0.s##v, x1.s##v, x2.s##v, x3.s##v), r + v, to + i * MR);
        ROW_OF_4(0) ROW_OF_4(1) ROW_OF_4(2) ROW_OF_4(3) ROW_OF_4(4) ROW_OF_4(5) ROW_OF_4(6) ROW_OF_4(7)
      }
    }
  }
  for (; i < padded; i++) {
    for (int r = 0; r < MR; r++) {
      const bool is_there = r < there && i < steps;
      to[i / 4 * 4 * MR + r * 4 + i % 4] = is_there ? load1(from, at + r * o.across + i * o.along, o.type) : 0;
    }
  }
}

#define ZERO(r) lanes c##r##0 = 0, c##r##1 = 0;
#define TAKE(r) c##r##0 = LOADS(0, s + r * NR), c##r##1 = LOADS(1, s + r * NR);
#define KEEP(r) STORES(c##r##0, 0, s + r * NR); STORES(c##r##1, 1, s + r * NR);
#define ADD(r)                   \
  x = p[r * 4 + u];              \
  c##r##0 = fma(x, b0, c##r##0); \
  c##r##1 = fma(x, b1, c##r##1);
#define STEP                                                         \
  {                                                                  \
    const lanes b0 = LOADS(2 * u, q), b1 = LOADS(2 * u + 1, q);      \
    lanes x;                                                         \
    ROWS(ADD)                                                        \
  }
// Sums that are all there is to a product are stored at once.
#define FINISH_ROW(r)                                                                     \
  if (row + r < g.m && whole && g.plain) {                                                \
    __global real *to = AT(real, c) + z * g.c.batch + (row + r) * g.c.row + j;            \
    PUTS(c##r##0 * g.alpha + (g.accumulate ? GETS(to) : (lanes)(0)), to);                 \
    PUTS(c##r##1 * g.alpha + (g.accumulate ? GETS(to + LANES) : (lanes)(0)), to + LANES); \
  } else if (row + r < g.m) {                                                             \
    const lanes sums[2] = {c##r##0, c##r##1};                                             \
    for (int w = 0; w < NR; w += whole ? LANES : 1) {                                     \
      if (j + w >= g.n) break;                                                            \
      PLACES(row + r, j + w)                                                              \
      if (whole) finish_lanes(&g, w ? c##r##1 : c##r##0, to, with, plus, before, slope);  \
      else finish1(&g, ((const float *)sums)[w], to, with, plus, before, slope);          \
    }                                                                                     \
  }

__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void gemm_tiles(ARGUMENTS) {
  __local float panel[DEPTH * NR], kept[STRIPS * MR * NR];
  const long j = (long)get_global_id(0) * NR, z = get_global_id(2);
  const long first = (long)get_global_id(1) * g.strips, last = min(first + g.strips, g.block);
  const bool whole = j + NR <= g.n;
  __global const float *a = AT(float, a) + z * g.block * MR * ((g.k + 3) / 4 * 4);
  for (long begin = 0; begin == 0 || begin < g.k; begin += g.depth) {
    const int steps = min(g.depth, g.k - begin), padded = (steps + 3) / 4 * 4;
    pack(panel, AT(uchar, b), &g, j, z, begin, steps, padded);
    for (long strip = first; strip < last; strip++) {
      __global const float *p = a + (begin * g.block + strip * padded) * MR;
      __local const float *q = panel;
      __local float *s = kept + (strip - first) * MR * NR;
      const long row = g.row + strip * MR;
      ROWS(ZERO)
      if (begin > 0) { ROWS(TAKE) }
      for (int k = 0; k < padded; k += 4, p += 4 * MR, q += 4 * NR) {
        { enum { u = 0 }; STEP }
        { enum { u = 1 }; STEP }
        { enum { u = 2 }; STEP }
        { enum { u = 3 }; STEP }
      }
      if (begin + g.depth < g.k) {
        ROWS(KEEP)
      } else {
        ROWS(FINISH_ROW)
      }
    }
  }
}

#else

// Item (x, y) of a group has sums of rows y, y + ITEMS, ... and columns x, x + ITEMS, ... of its tile.
enum { TM = MR / ITEMS, TN = NR / ITEMS };

// DEPTH of k of `width` rows of a or columns of b, with neighbours in memory by neighbouring items; 0 beyond.
#define FETCH(to, width, x, o, w0, extent)                                                                    \
  for (int i = item; i < DEPTH * width; i += ITEMS * ITEMS) {                                                 \
    const int d = o.along == 1 ? i % DEPTH : i / width, w = o.along == 1 ? i / DEPTH : i % width;             \
    const bool is_there = k + d < g.k && w0 + w < extent;                                                     \
    to[d][w] = is_there ? load1(x, z * o.batch + (w0 + w) * o.across + (k + d) * o.along, o.type) : 0;        \
  }

__kernel __attribute__((reqd_work_group_size(ITEMS * ITEMS, 1, 1))) void gemm_tiles(ARGUMENTS) {
  __local float as[DEPTH][MR + 1], bs[DEPTH][NR + 1];  // a column more, so that no two items need one bank
  const int item = get_local_id(0), x = item % ITEMS, y = item / ITEMS;
  const long column0 = (long)get_group_id(0) * NR, row0 = (long)get_global_id(1) * MR, z = get_global_id(2);
  float sums[TM][TN];
  for (int i = 0; i < TM; i++) {
    for (int j = 0; j < TN; j++) sums[i][j] = 0;
  }
  for (long k = 0; k < g.k; k += DEPTH) {
    barrier(CLK_LOCAL_MEM_FENCE);
    FETCH(as, MR, AT(uchar, a), g.a, row0, g.m)
    FETCH(bs, NR, AT(uchar, b), g.b, column0, g.n)
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int d = 0; d < DEPTH; d++) {
      float av[TM], bv[TN];
      for (int i = 0; i < TM; i++) av[i] = as[d][y + i * ITEMS];
      for (int j = 0; j < TN; j++) bv[j] = bs[d][x + j * ITEMS];
      for (int i = 0; i < TM; i++) {
        for (int j = 0; j < TN; j++) sums[i][j] = fma(av[i], bv[j], sums[i][j]);
      }
    }
  }
  for (int i = 0; i < TM; i++) {
    for (int j = 0; j < TN; j++) {
      const long row = row0 + y + i * ITEMS, column = column0 + x + j * ITEMS;
      if (row >= g.m || column >= g.n) continue;
      PLACES(row, column)
      finish1(&g, sums[i][j], to, with, plus, before, slope);
    }
  }
}
#endif
