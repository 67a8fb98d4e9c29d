// Exact attention (Dao et al., arXiv 2205.14135): no t x t matrix is ever stored. An item has 16 queries, or in the
// backward of keys and values 16 keys, side by side in vectors; it meets 4 of the others at a time, so that a vector that
// is loaded is used for four of them.

enum { LANES = 16 };

// Rows of d elements of one batch and head.
typedef struct {
  long b, t, h;
} strides;

typedef struct {
  long tq, tk, d, heads, key_heads;
  strides q, k, v, o, d_o, dq, dk, dv, lse;
  long window, offsets_b, offsets_t, offsets_n;
  float scale;
  int causal;
} attention;

#define ROW(T, x, of, batch, at, head_of) (AT(T, x) + (batch) * (of).b + (at) * (of).t + (head_of) * (of).h)

// The keys that query i sees: from x to less than y. All masks are such a stretch.
static int2 seen(const attention *a, __global const int *offsets, const long b, const long i) {
  const long last = i + a->tk - a->tq;
  long low = a->window > 0 ? max(0L, last - a->window + 1) : 0, high = a->causal ? min(a->tk, last + 1) : a->tk;
  if (offsets) {
    long n = 0, begin = 0, end = 0;
    for (; n + 1 < a->offsets_n; n++) {
      const long first = offsets[b * a->offsets_b + n * a->offsets_t];
      const long next = offsets[b * a->offsets_b + (n + 1) * a->offsets_t];
      if (i >= first && i < next) {
        begin = first;
        end = next;
      }
    }
    low = max(low, begin);
    high = min(high, end);
  }
  return (int2)(low, max(low, high));
}

// The same of 16 queries, of which `count` are there, and the stretch that has all of their keys.
static void seen_by_all(
    const attention *a, __global const int *offsets, const long b, const long first, const int count, int16 *lows,
    int16 *highs, int *from, int *to) {
  int low[LANES], high[LANES];
  *from = INT_MAX;
  *to = 0;
  for (int r = 0; r < LANES; r++) {
    const int2 s = r < count ? seen(a, offsets, b, first + r) : (int2)(0, 0);
    low[r] = s.x;
    high[r] = s.y;
    if (s.x < s.y) {
      *from = min(*from, s.x);
      *to = max(*to, s.y);
    }
  }
  *lows = vload16(0, low);
  *highs = vload16(0, high);
}

// Vector e of the transposed rows is element e of 16 of them, those beyond `count` being 0.
static void transpose(
    __global float16 *to, __global const float *rows, const long stride, const int count, const long d) {
  for (long e = 0; e < d; e++) {
    float lanes[LANES];
    for (int r = 0; r < LANES; r++) lanes[r] = r < count ? rows[r * stride + e] : 0;
    to[e] = vload16(0, lanes);
  }
}

static void untranspose(
    __global real *rows, __global const float16 *from, const long stride, const int count, const long d) {
  for (int r = 0; r < count; r++) {
    for (long e = 0; e < d; e++) put(((__global const float *)(from + e))[r], rows + r * stride + e);
  }
}

// s0 ... s3 += the products of a tile's rows with four others, row0 ... row3.
#define MEET(s, tile, row)                \
  for (long e = 0; e < a.d; e++) {        \
    const float16 x = tile[e];            \
    s##0 = fma(x, row##0[e], s##0);       \
    s##1 = fma(x, row##1[e], s##1);       \
    s##2 = fma(x, row##2[e], s##2);       \
    s##3 = fma(x, row##3[e], s##3);       \
  }

// A tile = `old` + the sum of four rows, each times its s.
#define ADD(tile, old, s, row)            \
  for (long e = 0; e < a.d; e++) {        \
    float16 x = old;                      \
    x = fma(s##0, row##0[e], x);          \
    x = fma(s##1, row##1[e], x);          \
    x = fma(s##2, row##2[e], x);          \
    x = fma(s##3, row##3[e], x);          \
    tile[e] = x;                          \
  }

#define EACH_LANE (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)

__kernel void attention_fwd(
    MEMORY(real, o), MEMORY(float, lse), MEMORY(float, q), MEMORY(float, k), MEMORY(float, v), MEMORY(int, offsets),
    MEMORY(float, scratch), const attention a) {
  const long block = get_global_id(0), head = get_global_id(1), b = get_global_id(2), first = block * LANES;
  const long key_head = head / (a.heads / a.key_heads);
  const int count = min((long)LANES, a.tq - first);
  __global float16 *qt = AT(float16, scratch) + ((b * a.heads + head) * get_global_size(0) + block) * 2 * a.d;
  __global float16 *ot = qt + a.d;
  transpose(qt, ROW(float, q, a.q, b, first, head), a.q.t, count, a.d);
  for (long e = 0; e < a.d; e++) ot[e] = (float16)(0);
  int from, to;
  int16 lows, highs;
  seen_by_all(&a, AT(int, offsets), b, first, count, &lows, &highs, &from, &to);
  float16 top = -INFINITY, sum = 0;
  for (int j = from; j < to; j += 4) {
#define KEY(n) ROW(float, k, a.k, b, min(j + n, to - 1), key_head)
#define VALUE(n) ROW(float, v, a.v, b, min(j + n, to - 1), key_head)
    __global const float *k0 = KEY(0), *k1 = KEY(1), *k2 = KEY(2), *k3 = KEY(3);
    float16 s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    MEET(s, qt, k)
#define MASKED(n) \
  s##n = select((float16)(-INFINITY), s##n * a.scale, lows <= j + n && highs > j + n && (int16)(j + n < to ? -1 : 0));
    MASKED(0) MASKED(1) MASKED(2) MASKED(3)
    // A row that has seen nothing yet is kept from infinity less infinity.
    const float16 next = max(top, max(max(s0, s1), max(s2, s3)));
    const float16 shift = select(next, (float16)(0), next == -INFINITY);
    const float16 keep = exp(top - shift);
    s0 = exp(s0 - shift);
    s1 = exp(s1 - shift);
    s2 = exp(s2 - shift);
    s3 = exp(s3 - shift);
    sum = sum * keep + ((s0 + s1) + (s2 + s3));
    top = next;
    __global const float *v0 = VALUE(0), *v1 = VALUE(1), *v2 = VALUE(2), *v3 = VALUE(3);
    ADD(ot, ot[e] * keep, s, v)
  }
  const float16 factor = select(1 / sum, (float16)(0), sum == 0.0f);
  for (long e = 0; e < a.d; e++) ot[e] = ot[e] * factor;
  untranspose(ROW(real, o, a.o, b, first, head), ot, a.o.t, count, a.d);
  if (!lse_memory) return;
  float logs[LANES];
  vstore16(select((float16)(-INFINITY), top + log(sum), lows < highs), 0, logs);
  for (int r = 0; r < count; r++) *ROW(float, lse, a.lse, b, first + r, head) = logs[r];
}

// Rows one after the other, by head, in fp32: to [b, heads, t, d]. Whoever meets all of them reads them from there, in
// one stream.
__kernel void attention_gather(MEMORY(float, to), MEMORY(real, x), const strides of, const long d) {
  const long i = get_global_id(0), head = get_global_id(1), b = get_global_id(2);
  __global const real *from = ROW(real, x, of, b, i, head);
  __global float *row = AT(float, to) + ((b * get_global_size(1) + head) * get_global_size(0) + i) * d;
  for (long e = 0; e < d; e++) row[e] = get(from + e);
}

// delta [b, heads, tq] = the sums of d_o * o over a row.
__kernel void attention_delta(MEMORY(float, delta), MEMORY(real, o), MEMORY(float, d_o), const attention a) {
  const long i = get_global_id(0), head = get_global_id(1), b = get_global_id(2);
  __global const real *x = ROW(real, o, a.o, b, i, head);
  __global const float *y = ROW(float, d_o, a.d_o, b, i, head);
  float sum = 0;
  for (long e = 0; e < a.d; e++) sum += get(x + e) * y[e];
  AT(float, delta)[(b * a.heads + head) * a.tq + i] = sum;
}

// p and ds of all lanes, from a product with scale and one with d_o: p = exp(s - lse), ds = p (dp - delta) scale.
__kernel void attention_dq(
    MEMORY(real, dq), MEMORY(float, q), MEMORY(float, k), MEMORY(float, v), MEMORY(float, d_o), MEMORY(float, lse),
    MEMORY(float, delta), MEMORY(int, offsets), MEMORY(float, scratch), const attention a) {
  const long block = get_global_id(0), head = get_global_id(1), b = get_global_id(2), first = block * LANES;
  const long key_head = head / (a.heads / a.key_heads);
  const int count = min((long)LANES, a.tq - first);
  __global float16 *qt = AT(float16, scratch) + ((b * a.heads + head) * get_global_size(0) + block) * 3 * a.d;
  __global float16 *dot = qt + a.d, *dqt = dot + a.d;
  transpose(qt, ROW(float, q, a.q, b, first, head), a.q.t, count, a.d);
  transpose(dot, ROW(float, d_o, a.d_o, b, first, head), a.d_o.t, count, a.d);
  for (long e = 0; e < a.d; e++) dqt[e] = (float16)(0);
  int from, to;
  int16 lows, highs;
  seen_by_all(&a, AT(int, offsets), b, first, count, &lows, &highs, &from, &to);
  float logs[LANES], deltas[LANES];
  for (int r = 0; r < LANES; r++) {
    logs[r] = r < count ? *ROW(float, lse, a.lse, b, first + r, head) : 0;
    deltas[r] = r < count ? AT(float, delta)[(b * a.heads + head) * a.tq + first + r] : 0;
  }
  const float16 shift = vload16(0, logs), less = vload16(0, deltas);
  for (int j = from; j < to; j += 4) {
    __global const float *k0 = KEY(0), *k1 = KEY(1), *k2 = KEY(2), *k3 = KEY(3);
    __global const float *v0 = VALUE(0), *v1 = VALUE(1), *v2 = VALUE(2), *v3 = VALUE(3);
    float16 s0 = 0, s1 = 0, s2 = 0, s3 = 0, d0 = 0, d1 = 0, d2 = 0, d3 = 0;
    MEET(s, qt, k)
    MEET(d, dot, v)
#define GRADIENT(n)                                                                                                 \
  d##n = select(                                                                                                    \
      (float16)(0), exp(s##n * a.scale - shift) * (d##n - less) * a.scale,                                           \
      lows <= j + n && highs > j + n && (int16)(j + n < to ? -1 : 0));
    GRADIENT(0) GRADIENT(1) GRADIENT(2) GRADIENT(3)
    ADD(dqt, dqt[e], d, k)
  }
  untranspose(ROW(real, dq, a.dq, b, first, head), dqt, a.dq.t, count, a.d);
}

// 16 keys of a key head, which meet every query of its query heads.
__kernel void attention_dkv(
    MEMORY(real, dk), MEMORY(real, dv), MEMORY(float, q), MEMORY(float, k), MEMORY(float, v), MEMORY(float, d_o),
    MEMORY(float, lse), MEMORY(float, delta), MEMORY(int, offsets), MEMORY(float, scratch), const attention a) {
  const long block = get_global_id(0), key_head = get_global_id(1), b = get_global_id(2), first = block * LANES;
  const long group = a.heads / a.key_heads;
  const int count = min((long)LANES, a.tk - first);
  __global float16 *kt = AT(float16, scratch) + ((b * a.key_heads + key_head) * get_global_size(0) + block) * 4 * a.d;
  __global float16 *vt = kt + a.d, *dkt = vt + a.d, *dvt = dkt + a.d;
  transpose(kt, ROW(float, k, a.k, b, first, key_head), a.k.t, count, a.d);
  transpose(vt, ROW(float, v, a.v, b, first, key_head), a.v.t, count, a.d);
  for (long e = 0; e < 2 * a.d; e++) dkt[e] = (float16)(0);
  const int16 keys = (int)first + EACH_LANE;
  for (long head = key_head * group; head < (key_head + 1) * group; head++) {
    for (long i = 0; i < a.tq; i += 4) {
      const long row = (b * a.heads + head) * a.tq;
#define SEEN(n) const int2 see##n = i + n < a.tq ? seen(&a, AT(int, offsets), b, i + n) : (int2)(0, 0);
      SEEN(0) SEEN(1) SEEN(2) SEEN(3)
#define MEETS(n) (see##n.y > first && see##n.x < first + count)
      if (!(MEETS(0) || MEETS(1) || MEETS(2) || MEETS(3))) continue;
#define QUERY(n)                                                                                     \
  const long i##n = min(i + n, a.tq - 1);                                                            \
  __global const float *q##n = ROW(float, q, a.q, b, i##n, head), *o##n = ROW(float, d_o, a.d_o, b, i##n, head); \
  float16 s##n = 0, d##n = 0;
      QUERY(0) QUERY(1) QUERY(2) QUERY(3)
      MEET(s, kt, q)
      MEET(d, vt, o)
#define PAIR(n)                                                                                    \
  const int16 meet##n = keys >= see##n.x && keys < see##n.y;                                        \
  s##n = select((float16)(0), exp(s##n * a.scale - *ROW(float, lse, a.lse, b, i##n, head)), meet##n); \
  d##n = select((float16)(0), s##n * (d##n - AT(float, delta)[row + i##n]) * a.scale, meet##n);
      PAIR(0) PAIR(1) PAIR(2) PAIR(3)
      ADD(dkt, dkt[e], d, q)
      ADD(dvt, dvt[e], s, o)
    }
  }
  untranspose(ROW(real, dk, a.dk, b, first, key_head), dkt, a.dk.t, count, a.d);
  untranspose(ROW(real, dv, a.dv, b, first, key_head), dvt, a.dv.t, count, a.d);
}
