// Layer and RMS normalisation: a row for a work group, whose items take runs of 8 elements in turn.

#define EACH_RUN(i) for (long i = (long)get_local_id(0) * 8; i + 8 <= c; i += GROUP * 8)
#define EACH_LEFT(i) for (long i = c / 8 * 8 + get_local_id(0); i < c; i += GROUP)

// mean and 1 / standard deviation; the mean of an RMS norm is taken to be 0.
static float2 statistics(
    __global const real *x, const long c, const float eps, const int center, __local float *shared) {
  float mean = 0;
  if (center) {
    float8 sums = 0;
    float sum = 0;
    EACH_RUN(i) sums += get8(x + i);
    EACH_LEFT(i) sum += get(x + i);
    mean = group_sum(sum_of(sums) + sum, shared) / c;
  }
  float8 squares = 0;
  float square = 0;
  EACH_RUN(i) {
    const float8 d = get8(x + i) - mean;
    squares += d * d;
  }
  EACH_LEFT(i) square += (get(x + i) - mean) * (get(x + i) - mean);
  square = group_sum(sum_of(squares) + square, shared);
  return (float2)(mean, 1 / sqrt(square / c + eps));
}

__kernel void norm_fwd(
    MEMORY(real, y), MEMORY(real, x), MEMORY(float, gain), MEMORY(float, bias), const long c, const long ldy,
    const long ldx, const float eps, const int center) {
  __local float shared[GROUP];
  const long row = get_group_id(0);
  __global const real *from = AT(real, x) + row * ldx;
  __global const float *g = AT(float, gain), *b = AT(float, bias);
  __global real *to = AT(real, y) + row * ldy;
  const float2 s = statistics(from, c, eps, center, shared);
  EACH_RUN(i) {
    float8 v = (get8(from + i) - s.x) * s.y;
    if (g) v *= vload8(0, g + i);
    if (b) v += vload8(0, b + i);
    put8(v, to + i);
  }
  EACH_LEFT(i) put((get(from + i) - s.x) * s.y * (g ? g[i] : 1) + (b ? b[i] : 0), to + i);
}

// dx of a row, and its mean and 1 / standard deviation for the gradients of gain and bias.
__kernel void norm_bwd(
    MEMORY(real, dx), MEMORY(float2, rows), MEMORY(real, dy), MEMORY(real, x), MEMORY(float, gain), const long c,
    const long lddx, const long lddy, const long ldx, const float eps, const int center, const int accumulate) {
  __local float shared[GROUP];
  const long row = get_group_id(0);
  __global const real *from = AT(real, x) + row * ldx, *d = AT(real, dy) + row * lddy;
  __global const float *g = AT(float, gain);
  const float2 s = statistics(from, c, eps, center, shared);
  if (rows_memory && get_local_id(0) == 0) AT(float2, rows)[row] = s;
  if (!dx_memory) return;
  float8 us = 0, uxs = 0;
  float u = 0, ux = 0;
  EACH_RUN(i) {
    const float8 v = get8(d + i) * (g ? vload8(0, g + i) : (float8)(1));
    us += v;
    uxs += v * ((get8(from + i) - s.x) * s.y);
  }
  EACH_LEFT(i) {
    const float v = get(d + i) * (g ? g[i] : 1);
    u += v;
    ux += v * ((get(from + i) - s.x) * s.y);
  }
  u = center ? group_sum(sum_of(us) + u, shared) / c : 0;
  ux = group_sum(sum_of(uxs) + ux, shared) / c;
  __global real *to = AT(real, dx) + row * lddx;
  EACH_RUN(i) {
    float8 v = get8(d + i) * (g ? vload8(0, g + i) : (float8)(1));
    v = s.y * (v - u - (get8(from + i) - s.x) * s.y * ux);
    put8(accumulate ? get8(to + i) + v : v, to + i);
  }
  EACH_LEFT(i) {
    const float v = s.y * (get(d + i) * (g ? g[i] : 1) - u - (get(from + i) - s.x) * s.y * ux);
    put(accumulate ? get(to + i) + v : v, to + i);
  }
}

// The sums of dy * xhat and of dy over the rows of a chunk: a column for an item.
__kernel void norm_params(
    MEMORY(float, dgain), MEMORY(float, dbias), MEMORY(float2, stats), MEMORY(real, dy), MEMORY(real, x), const long c,
    const long lddy, const long ldx, const long rows, const long rows_per_chunk) {
  const long i = get_global_id(0), chunk = get_global_id(1), begin = chunk * rows_per_chunk;
  if (i >= c) return;
  float gain = 0, bias = 0;
  for (long row = begin; row < min(begin + rows_per_chunk, rows); row++) {
    const float2 s = AT(float2, stats)[row];
    const float d = get(AT(real, dy) + row * lddy + i);
    gain += d * ((get(AT(real, x) + row * ldx + i) - s.x) * s.y);
    bias += d;
  }
  if (dgain_memory) AT(float, dgain)[chunk * c + i] = gain;
  if (dbias_memory) AT(float, dbias)[chunk * c + i] = bias;
}
