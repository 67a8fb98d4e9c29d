// Activations, with an item for each 8 elements: their functions come in vectors.

// 8 elements of a view from i on, side by side or not; beyond the last one 0, and nothing is written.
static float8 load8(__global const float *x, const layout *l, const int view, const long i) {
  if (l->rank == 1 && l->strides[view][0] == 1 && i + 8 <= l->count) return vload8(0, x + i);
  float v[8];
  for (int k = 0; k < 8; k++) v[k] = i + k < l->count ? x[place(l, view, i + k)] : 0;
  return vload8(0, v);
}

static void store8(const float8 value, __global float *y, const layout *l, const int view, const long i) {
  if (l->rank == 1 && l->strides[view][0] == 1 && i + 8 <= l->count) {
    vstore8(value, 0, y + i);
    return;
  }
  float v[8];
  vstore8(value, 0, v);
  for (int k = 0; k < 8 && i + k < l->count; k++) y[place(l, view, i + k)] = v[k];
}

__kernel void act_fwd(MEMORY(float, y), MEMORY(float, x), const layout l, const int kind) {
  const long i = get_global_id(0) * 8;
  store8(act_value(kind, load8(AT(float, x), &l, 1, i)), AT(float, y), &l, 0, i);
}

__kernel void act_bwd(MEMORY(float, dx), MEMORY(float, dy), MEMORY(float, x), const layout l, const int kind) {
  const long i = get_global_id(0) * 8;
  const float8 slope = act_slope(kind, load8(AT(float, x), &l, 2, i));
  store8(load8(AT(float, dy), &l, 1, i) * slope, AT(float, dx), &l, 0, i);
}

__kernel void swiglu_fwd(MEMORY(float, y), MEMORY(float, gate), MEMORY(float, up), const layout l) {
  const long i = get_global_id(0) * 8;
  const float8 value = act_value(SILU, load8(AT(float, gate), &l, 1, i)) * load8(AT(float, up), &l, 2, i);
  store8(value, AT(float, y), &l, 0, i);
}

__kernel void swiglu_bwd(
    MEMORY(float, dgate), MEMORY(float, dup), MEMORY(float, dy), MEMORY(float, gate), MEMORY(float, up),
    const layout l) {
  const long i = get_global_id(0) * 8;
  const float8 d = load8(AT(float, dy), &l, 2, i), g = load8(AT(float, gate), &l, 3, i);
  const float8 u = load8(AT(float, up), &l, 4, i);
  store8(d * u * act_slope(SILU, g), AT(float, dgate), &l, 0, i);
  store8(d * act_value(SILU, g), AT(float, dup), &l, 1, i);
}

__kernel void dropout(
    MEMORY(float, y), MEMORY(float, x), const layout l, const uint2 key, const uint4 counter, const uint threshold,
    const float scale) {
  const long i = get_global_id(0);
  if (i >= l.count) return;
  const float factor = philox_word(i, key, counter) >= threshold ? scale : 0;
  AT(float, y)[place(&l, 0, i)] = AT(float, x)[place(&l, 1, i)] * factor;
}
