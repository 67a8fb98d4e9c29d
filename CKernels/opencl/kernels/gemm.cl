// Products of packed panels: a tile of MR x NR sums stays in registers while a panel of MR rows of a and one of NR columns
// of b stream past it. Without local memory: on a CPU there is none, and panels are read from the caches.

enum { MR = 6, NR = 16 };

// panel[k][w] of element (panel * width + w, k) of x, 0 beyond `extent`.
__kernel void gemm_pack(
    MEMORY(float, out), MEMORY(float, x), const long batch, const long across, const long along, const long extent,
    const long k, const int width, const long panels) {
  const long panel = get_global_id(0), begin = get_global_id(1) * 64, end = min(begin + 64, k), z = get_global_id(2);
  __global const float *from = AT(float, x) + z * batch + panel * width * across;
  __global float *to = AT(float, out) + (z * panels + panel) * k * width;
  const int there = min((long)width, extent - panel * width);
  if (width == NR && there == NR && across == 1) {
    for (long i = begin; i < end; i++) vstore16(vload16(0, from + i * along), i, to);
  } else if (across == 1) {
    for (long i = begin; i < end; i++) {
      for (int w = 0; w < width; w++) to[i * width + w] = w < there ? from[w + i * along] : 0;
    }
  } else {
    for (int w = 0; w < width; w++) {
      for (long i = begin; i < end; i++) to[i * width + w] = w < there ? from[w * across + i * along] : 0;
    }
  }
}

// The sums over k of what was packed: the gradient of a bias.
__kernel void gemm_sums(
    MEMORY(float, out), MEMORY(float, packed), const long extent, const long k, const int width, const float alpha,
    const int accumulate) {
  const long i = get_global_id(0);
  if (i >= extent) return;
  __global const float *p = AT(float, packed) + i / width * k * width + i % width;
  float sum = 0;
  for (long j = 0; j < k; j++) sum += p[j * width];
  AT(float, out)[i] = accumulate ? AT(float, out)[i] + alpha * sum : alpha * sum;
}

// Where a matrix with stride 1 along n lies; what becomes of the sums is in gemm.h.
typedef struct {
  long batch, row;
} matrix;

typedef struct {
  long m, n, k, tiles;  // `tiles`: strips of MR rows that an item works through
  long first_k, last_k;  // what is multiplied now
  matrix c, residual, preactivation, gradient_at;
  float alpha;
  int activation, accumulate, reserved;
} product;

// What c, bias and so on are at a place: `pre` and others are addresses, 0 for none.
#define FINISH(T, LOAD, STORE)                                        \
  sum *= g->alpha;                                                    \
  if (bias) sum += LOAD(bias);                                        \
  if (pre) STORE(sum, pre);                                           \
  if (at) sum *= act_slope(g->activation, (T)LOAD(at));               \
  else if (g->activation) sum = act_value(g->activation, sum);        \
  if (residual) sum += LOAD(residual);                                \
  if (g->accumulate) sum += LOAD(c);                                  \
  STORE(sum, c);

#define LOAD1(p) (*(p))
#define STORE1(x, p) (*(p) = (x))
#define LOAD8(p) vload8(0, p)
#define STORE8(x, p) vstore8(x, 0, p)

static inline void finish8(
    const product *g, float8 sum, __global float *c, __global const float *bias, __global const float *residual,
    __global float *pre, __global const float *at) {
  FINISH(float8, LOAD8, STORE8)
}

static inline void finish1(
    const product *g, float sum, __global float *c, __global const float *bias, __global const float *residual,
    __global float *pre, __global const float *at) {
  FINISH(float, LOAD1, STORE1)
}

#define ROWS(F) F(0) F(1) F(2) F(3) F(4) F(5)

__kernel void gemm_tiles(
    MEMORY(float, c), MEMORY(float, a), MEMORY(float, b), MEMORY(float, bias), MEMORY(float, residual),
    MEMORY(float, pre), MEMORY(float, gradient), const product g) {
  const long j = (long)get_global_id(0) * NR, z = get_global_id(2), strips = (g.m + MR - 1) / MR;
  __global const float *pb = AT(float, b) + (z * get_global_size(0) * NR + j) * g.k;
  const long first = (long)get_global_id(1) * g.tiles, last = min(first + g.tiles, strips);
  for (long strip = first; strip < last; strip++) {
    __global const float *pa = AT(float, a) + ((z * strips + strip) * g.k + g.first_k) * MR, *q = pb + g.first_k * NR;
#define ZERO(r) float8 c##r##0 = 0, c##r##1 = 0;
    ROWS(ZERO)
#define STEP(r)                             \
  x = pa[u * MR + r];                       \
  c##r##0 = fma(x, b0, c##r##0);            \
  c##r##1 = fma(x, b1, c##r##1);
#define STEPS                               \
  {                                         \
    const float8 b0 = vload8(2 * u, q), b1 = vload8(2 * u + 1, q); \
    float8 x;                               \
    ROWS(STEP)                              \
  }
    long k = g.first_k;
    for (; k + 4 <= g.last_k; k += 4, pa += 4 * MR, q += 4 * NR) {
      { enum { u = 0 }; STEPS }
      { enum { u = 1 }; STEPS }
      { enum { u = 2 }; STEPS }
      { enum { u = 3 }; STEPS }
    }
    for (; k < g.last_k; k++, pa += MR, q += NR) { enum { u = 0 }; STEPS }
    const bool whole = j + NR <= g.n;
#define FINISH_ROW(r)                                                                                              \
  if (strip * MR + r < g.m) {                                                                                      \
    const long i = strip * MR + r;                                                                                 \
    float sums[NR];                                                                                                \
    if (!whole) {                                                                                                  \
      vstore8(c##r##0, 0, sums);                                                                                   \
      vstore8(c##r##1, 1, sums);                                                                                   \
    }                                                                                                              \
    for (int w = 0; w < NR; w += whole ? 8 : 1) {                                                                  \
      const long n = j + w;                                                                                        \
      if (n >= g.n) break;                                                                                         \
      __global float *to = AT(float, c) + z * g.c.batch + i * g.c.row + n;                                         \
      __global const float *with = bias_memory ? AT(float, bias) + n : 0;                                          \
      __global const float *plus =                                                                                 \
          residual_memory ? AT(float, residual) + z * g.residual.batch + i * g.residual.row + n : 0;               \
      __global float *before =                                                                                     \
          pre_memory ? AT(float, pre) + z * g.preactivation.batch + i * g.preactivation.row + n : 0;               \
      __global const float *slope =                                                                                \
          gradient_memory ? AT(float, gradient) + z * g.gradient_at.batch + i * g.gradient_at.row + n : 0;         \
      if (whole) finish8(&g, w ? c##r##1 : c##r##0, to, with, plus, before, slope);                                \
      else finish1(&g, sums[w], to, with, plus, before, slope);                                                    \
    }                                                                                                              \
  }
    ROWS(FINISH_ROW)
  }
}
