// Softmax cross-entropy: a row for a work group. A target that is neither a column nor `ignore` gives a loss that is no
// number.

static inline float largest(float8 v) {
  const float4 a = max(v.lo, v.hi);
  return max(max(a.x, a.y), max(a.z, a.w));
}

// dlogits may be the logits, or NULL.
__kernel void loss_rows(
    MEMORY(real, dlogits), MEMORY(real, logits), MEMORY(int, targets), MEMORY(float, losses), MEMORY(double, terms),
    const long v, const long lddlogits, const long ldlogits, const float scale, const int ignore) {
  __local float shared[GROUP];
  const long row = get_group_id(0), item = get_local_id(0);
  __global const real *x = AT(real, logits) + row * ldlogits;
  const int target = AT(int, targets)[row];
  float8 most = -INFINITY;
  for (long i = item * 8; i < v; i += GROUP * 8) most = max(most, get8_of(x + i, v - i, -INFINITY));
  const float top = group_max(largest(most), shared);
  float8 sums = 0;
  for (long i = item * 8; i < v; i += GROUP * 8) sums += exp(get8_of(x + i, v - i, -INFINITY) - top);
  const float sum = group_sum(sum_of(sums), shared);
  const bool counts = target != ignore;
  const float chosen = !counts ? 0 : target >= 0 && target < v ? get(x + target) : NAN;
  if (item == 0) {
    const float loss = counts ? log(sum) + (top - chosen) : 0;
    AT(double, terms)[row] = loss;
    if (losses_memory) AT(float, losses)[row] = loss;
  }
  if (!dlogits_memory) return;
#if GROUP > 1
  barrier(CLK_GLOBAL_MEM_FENCE);
#endif
  __global real *d = AT(real, dlogits) + row * lddlogits;
  const float factor = counts ? scale / sum : 0;
  for (long i = item * 8; i < v; i += GROUP * 8) {
    float8 p = counts ? exp(get8_of(x + i, v - i, -INFINITY) - top) * factor : (float8)(0);
    const int8 is_target = (int8)(0, 1, 2, 3, 4, 5, 6, 7) == (int)(target - i);
    if (counts) p = select(p, p - scale, is_target);
    put8_of(p, d + i, v - i);
  }
}

__kernel void loss_sum(MEMORY(float, loss), MEMORY(double, terms), const long n, const float scale) {
  double sum = 0;
  for (long i = 0; i < n; i++) sum += AT(double, terms)[i];
  AT(float, loss)[0] = (float)(sum * scale);
}
