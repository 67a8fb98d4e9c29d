// Table look-up and its gradient: what the kernels take. Serial.
#ifndef KILN_EMBEDDING_KERNELS_H
#define KILN_EMBEDDING_KERNELS_H

#include <kiln.h>

// Row i of y (or dy), of the column's dtype, belongs to row ids[i % ids_count] of the table. The ids are in range.
// dtable is wide (kiln__wide).
typedef struct kiln__embedding_args {
  void *y, *dtable;
  const void *table, *dy;
  const int32_t *ids;
  int64_t ids_count, rows, ldy, ld_table;  // ldy, ld_table: of the gradients in the backward
  bool wide_table;                         // the table is wide; otherwise it is of the column's dtype
  bool accumulate;
} kiln__embedding_args;

typedef struct kiln__embedding_kernels {
  // Rows begin ..< end of y, c columns.
  void (*fwd)(const kiln__embedding_args *a, int64_t c, int64_t begin, int64_t end);
  // Columns begin ..< end of dtable, all rows of dy in their order.
  void (*bwd)(const kiln__embedding_args *a, int64_t begin, int64_t end);
} kiln__embedding_kernels;

extern const kiln__embedding_kernels kiln__embedding_ref_f32, kiln__embedding_ref_f64, kiln__embedding_ref_bf16,
    kiln__embedding_ref_f16;

#endif
