// Sums, copies and fills, with an item for each element; sums over rows and of squares.

__kernel void add(MEMORY(real, y), MEMORY(real, a), MEMORY(real, b), const layout l) {
  const long i = get_global_id(0);
  if (i >= l.count) return;
  put(get(AT(real, a) + place(&l, 1, i)) + get(AT(real, b) + place(&l, 2, i)), AT(real, y) + place(&l, 0, i));
}

#if defined(BF16) || defined(F16)
// From fp32 and to it, 8 elements for an item.
static bool lies_dense(const layout *l, const long i) {
  return l->rank == 1 && l->strides[0][0] == 1 && l->strides[1][0] == 1 && i + 8 <= l->count;
}

__kernel void narrow(MEMORY(real, y), MEMORY(float, x), const layout l) {
  const long i = get_global_id(0) * 8;
  if (lies_dense(&l, i)) {
    put8(vload8(0, AT(float, x) + i), AT(real, y) + i);
    return;
  }
  for (long k = i; k < min(i + 8, l.count); k++) put(AT(float, x)[place(&l, 1, k)], AT(real, y) + place(&l, 0, k));
}

__kernel void widen(MEMORY(float, y), MEMORY(real, x), const layout l) {
  const long i = get_global_id(0) * 8;
  if (lies_dense(&l, i)) {
    vstore8(get8(AT(real, x) + i), 0, AT(float, y) + i);
    return;
  }
  for (long k = i; k < min(i + 8, l.count); k++) AT(float, y)[place(&l, 0, k)] = get(AT(real, x) + place(&l, 1, k));
}

#else
// Of elements of so many bytes, whatever they are.
#define COPY(T)                                                                         \
  __kernel void copy_##T(MEMORY(T, y), MEMORY(T, x), const layout l) {                  \
    const long i = get_global_id(0);                                                    \
    if (i < l.count) AT(T, y)[place(&l, 0, i)] = AT(T, x)[place(&l, 1, i)];             \
  }                                                                                     \
  __kernel void fill_##T(MEMORY(T, y), const layout l, const T value) {                 \
    const long i = get_global_id(0);                                                    \
    if (i < l.count) AT(T, y)[place(&l, 0, i)] = value;                                 \
  }
COPY(uchar)
COPY(ushort)
COPY(uint)
COPY(ulong)
#endif

// out[c] = the sum over the rows of x, in their order (+ out).
__kernel void sum_rows(
    MEMORY(float, out), MEMORY(real, x), const long rows, const long cols, const long stride, const int accumulate) {
  const long c = get_global_id(0);
  if (c >= cols) return;
  __global const real *p = AT(real, x) + c;
  float sum = accumulate ? AT(float, out)[c] : 0;
  for (long r = 0; r < rows; r++) sum += get(p + r * stride);
  AT(float, out)[c] = sum;
}

// Stretches of 4096 elements.
__kernel void square_parts(MEMORY(double, parts), MEMORY(real, x), const long count) {
  const long part = get_global_id(0), begin = part * 4096, end = min(begin + 4096, count);
  __global const real *p = AT(real, x);
  double4 sums = 0;
  for (long i = begin; i < end; i += 8) sums += squares_of(get8_of(p + i, end - i, 0));
  AT(double, parts)[part] = sum_of_4(sums);
}

__kernel void square_sum(MEMORY(double, out), MEMORY(double, parts), const long count, const int accumulate) {
  double sum = accumulate ? AT(double, out)[0] : 0;
  for (long i = 0; i < count; i++) sum += AT(double, parts)[i];
  AT(double, out)[0] = sum;
}
