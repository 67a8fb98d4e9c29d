// Rotary position embedding.

// cos and sin of position i, one frequency for an item.
__kernel void rope_table(
    MEMORY(float, cosines), MEMORY(float, sines), MEMORY(int, positions), MEMORY(double, frequencies), const long half_of,
    const double direction) {
  const long i = get_global_id(0), row = get_global_id(1);
  if (i >= half_of) return;
  const double angle = direction * AT(int, positions)[row] * AT(double, frequencies)[i];
  AT(float, cosines)[row * half_of + i] = (float)cos(angle);
  AT(float, sines)[row * half_of + i] = (float)sin(angle);
}

typedef struct {
  long t, h, half_of;
  long y_b, y_t, y_h, x_b, x_t, x_h;
} heads;

// A plane for an item; rows are b * t, heads the third dimension.
__kernel void rope_rotate(
    MEMORY(real, y), MEMORY(real, x), MEMORY(float, cosines), MEMORY(float, sines), const heads a) {
  const long i = get_global_id(0), row = get_global_id(1), head = get_global_id(2);
  if (i >= a.half_of) return;
  const long b = row / a.t, t = row % a.t;
  __global const real *from = AT(real, x) + b * a.x_b + t * a.x_t + head * a.x_h;
  __global real *to = AT(real, y) + b * a.y_b + t * a.y_t + head * a.y_h;
  const float c = AT(float, cosines)[t * a.half_of + i], s = AT(float, sines)[t * a.half_of + i];
  const float lower = get(from + i), upper = get(from + i + a.half_of);
  put(lower * c - upper * s, to + i);
  put(upper * c + lower * s, to + i + a.half_of);
}
