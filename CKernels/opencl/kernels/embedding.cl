// Table look-up and its gradient. An id outside of the table gives numbers that are none.

// An item for each element of y. The table is kept as y is, or in fp32.
#define EMBEDDING(name, T, GET)                                                                                    \
  __kernel void name(                                                                                              \
      MEMORY(real, y), MEMORY(T, table), MEMORY(int, ids), const long count, const long cols, const long ldy,      \
      const long ld_table, const long vocabulary, const int accumulate) {                                          \
    const long c = get_global_id(0), row = get_global_id(1);                                                       \
    if (c >= cols) return;                                                                                         \
    const int id = AT(int, ids)[row % count];                                                                      \
    const float v = id >= 0 && id < vocabulary ? GET(AT(T, table) + id * ld_table + c) : NAN;                      \
    __global real *to = AT(real, y) + row * ldy + c;                                                               \
    put(accumulate ? get(to) + v : v, to);                                                                         \
  }
EMBEDDING(embedding_fwd, real, get)
EMBEDDING(embedding_fwd_wide, float, *)

// An item for each column, which sums in the order of the rows.
__kernel void embedding_bwd(
    MEMORY(float, dtable), MEMORY(real, dy), MEMORY(int, ids), const long count, const long rows, const long cols,
    const long ldy, const long ld_table, const long vocabulary) {
  const long c = get_global_id(0);
  if (c >= cols) return;
  for (long row = 0; row < rows; row++) {
    const int id = AT(int, ids)[row % count];
    if (id >= 0 && id < vocabulary) AT(float, dtable)[id * ld_table + c] += get(AT(real, dy) + row * ldy + c);
  }
}
