// Activations, with an item for each element.

__kernel void act_fwd(MEMORY(float, y), MEMORY(float, x), const layout l, const int kind) {
  const long i = get_global_id(0);
  if (i < l.count) AT(float, y)[place(&l, 0, i)] = act_value(kind, AT(float, x)[place(&l, 1, i)]);
}

__kernel void act_bwd(MEMORY(float, dx), MEMORY(float, dy), MEMORY(float, x), const layout l, const int kind) {
  const long i = get_global_id(0);
  if (i >= l.count) return;
  AT(float, dx)[place(&l, 0, i)] = AT(float, dy)[place(&l, 1, i)] * act_slope(kind, AT(float, x)[place(&l, 2, i)]);
}

__kernel void swiglu_fwd(MEMORY(float, y), MEMORY(float, gate), MEMORY(float, up), const layout l) {
  const long i = get_global_id(0);
  if (i >= l.count) return;
  AT(float, y)[place(&l, 0, i)] = act_value(SILU, AT(float, gate)[place(&l, 1, i)]) * AT(float, up)[place(&l, 2, i)];
}

__kernel void swiglu_bwd(
    MEMORY(float, dgate), MEMORY(float, dup), MEMORY(float, dy), MEMORY(float, gate), MEMORY(float, up),
    const layout l) {
  const long i = get_global_id(0);
  if (i >= l.count) return;
  const float d = AT(float, dy)[place(&l, 2, i)], g = AT(float, gate)[place(&l, 3, i)];
  const float u = AT(float, up)[place(&l, 4, i)];
  AT(float, dgate)[place(&l, 0, i)] = d * u * act_slope(SILU, g);
  AT(float, dup)[place(&l, 1, i)] = d * act_value(SILU, g);
}

// Philox4x32-10: random/philox.h. Word i of the stream that `key` and `counter` name.
static uint philox_word(const long i, const uint2 key, const uint4 counter) {
  uint4 c = (uint4)((uint)(i / 4), counter.y, counter.z, counter.w);
  uint2 k = key;
  for (int round = 0; round < 10; round++) {
    const uint high0 = mul_hi(c.x, 0xD2511F53u), low0 = c.x * 0xD2511F53u;
    const uint high1 = mul_hi(c.z, 0xCD9E8D57u), low1 = c.z * 0xCD9E8D57u;
    c = (uint4)(high1 ^ c.y ^ k.x, low1, high0 ^ c.w ^ k.y, low0);
    k += (uint2)(0x9E3779B9u, 0xBB67AE85u);
  }
  switch (i % 4) {
    case 0: return c.x;
    case 1: return c.y;
    case 2: return c.z;
    default: return c.w;
  }
}

__kernel void dropout(
    MEMORY(float, y), MEMORY(float, x), const layout l, const uint2 key, const uint4 counter, const uint threshold,
    const float scale) {
  const long i = get_global_id(0);
  if (i >= l.count) return;
  const float factor = philox_word(i, key, counter) >= threshold ? scale : 0;
  AT(float, y)[place(&l, 0, i)] = AT(float, x)[place(&l, 1, i)] * factor;
}
