// Activations, with an item for each 8 elements: their functions come in vectors.

// 8 elements of a view from i on, side by side or not; beyond the last one 0, and nothing is written.
static float8 load8(__global const real *x, const layout *l, const int view, const long i) {
  if (l->rank == 1 && l->strides[view][0] == 1 && i + 8 <= l->count) return get8(x + i);
  float v[8];
  for (int k = 0; k < 8; k++) v[k] = i + k < l->count ? get(x + place(l, view, i + k)) : 0;
  return vload8(0, v);
}

static void store8(const float8 value, __global real *y, const layout *l, const int view, const long i) {
  if (l->rank == 1 && l->strides[view][0] == 1 && i + 8 <= l->count) {
    put8(value, y + i);
    return;
  }
  float v[8];
  vstore8(value, 0, v);
  for (int k = 0; k < 8 && i + k < l->count; k++) put(v[k], y + place(l, view, i + k));
}

__kernel void act_fwd(MEMORY(real, y), MEMORY(real, x), const layout l, const int kind) {
  const long i = get_global_id(0) * 8;
  store8(act_value(kind, load8(AT(real, x), &l, 1, i)), AT(real, y), &l, 0, i);
}

__kernel void act_bwd(MEMORY(real, dx), MEMORY(real, dy), MEMORY(real, x), const layout l, const int kind) {
  const long i = get_global_id(0) * 8;
  const float8 slope = act_slope(kind, load8(AT(real, x), &l, 2, i));
  store8(load8(AT(real, dy), &l, 1, i) * slope, AT(real, dx), &l, 0, i);
}

__kernel void swiglu_fwd(MEMORY(real, y), MEMORY(real, gate), MEMORY(real, up), const layout l) {
  const long i = get_global_id(0) * 8;
  const float8 value = act_value(SILU, load8(AT(real, gate), &l, 1, i)) * load8(AT(real, up), &l, 2, i);
  store8(value, AT(real, y), &l, 0, i);
}

__kernel void swiglu_bwd(
    MEMORY(real, dgate), MEMORY(real, dup), MEMORY(real, dy), MEMORY(real, gate), MEMORY(real, up),
    const layout l) {
  const long i = get_global_id(0) * 8;
  const float8 d = load8(AT(real, dy), &l, 2, i), g = load8(AT(real, gate), &l, 3, i);
  const float8 u = load8(AT(real, up), &l, 4, i);
  store8(d * u * act_slope(SILU, g), AT(real, dgate), &l, 0, i);
  store8(d * act_value(SILU, g), AT(real, dup), &l, 1, i);
}

__kernel void dropout(
    MEMORY(real, y), MEMORY(real, x), const layout l, const uint2 key, const uint4 counter, const uint threshold,
    const float scale) {
  const long i = get_global_id(0);
  if (i >= l.count) return;
  const float factor = philox_word(i, key, counter) >= threshold ? scale : 0;
  put(get(AT(real, x) + place(&l, 1, i)) * factor, AT(real, y) + place(&l, 0, i));
}
