// Products with sparse weights: what the kernels take. Serial.
//
// Where blocks have KILN_SPARSE_WIDE rows of W, or a multiple, vectors run along these, and x and dy are taken by rows.
// Otherwise vectors run along the rows of x, of which a panel of `width` is transposed first, so that one kept element
// is a number beside a run of memory whatever the pattern. What is kept is regrouped for both: rows of W in groups of
// one, of KILN_SPARSE_ROWS or of KILN_SPARSE_WIDE, the steps of k that each group has in common in entries, and, but
// for the widest, these by chunks of k, so that the part of the panel that a chunk needs stays in the first cache.
#ifndef KILN_SPARSE_KERNELS_H
#define KILN_SPARSE_KERNELS_H

#include <kiln.h>

enum { KILN_SPARSE_ROWS = 4, KILN_SPARSE_WIDE = 16 };

// W, checked.
typedef struct kiln__sparse {
  int64_t rows, cols, block_rows, block_cols, row_blocks, col_blocks, count;
  int64_t kept, group;       // kept 0: blocks
  const int32_t *offsets, *columns;
  const uint8_t *places;     // of N:M
} kiln__sparse;

// W or its transpose as the kernels go through it. An entry is `depth` steps of k for a group of `rows` rows.
typedef struct kiln__sparse_lists {
  int32_t rows;              // 1, KILN_SPARSE_ROWS or KILN_SPARSE_WIDE
  int64_t depth;
  int64_t groups, chunks, chunk;  // `chunk` steps of k in one
  int64_t entries;
  const int64_t *starts;     // [chunks * groups + 1]: the entries of each chunk and group
  const int32_t *steps;      // [entries]: the first step of k
  const float *values;       // [entries][depth][rows]
} kiln__sparse_lists;

// Groups begin ..< end in one chunk.
typedef struct kiln__sparse_part {
  int64_t chunk, begin, end;
} kiln__sparse_part;

// Panels that lie `stride` floats apart.
typedef struct kiln__sparse_panels {
  const float *data;
  int64_t stride, count;
} kiln__sparse_panels;

struct kiln__gemm_finish;
struct kiln__gemm_part;

// What the plain loops of the gradient take.
typedef struct kiln__sparse_gradient_args {
  void *dvalues;
  const void *dy, *x;
  int64_t rows, ld_dy, ld_x;
  const kiln__sparse *w;
  bool accumulate;
} kiln__sparse_gradient_args;

typedef struct kiln__sparse_kernels {
  void (*plain)(const kiln__sparse_gradient_args *a);  // NULL where all that follows is there
  int32_t width;
  // panel [depth][width] from x [rows][cols], stride 1 in a row; 0 beyond.
  void (*pack)(float *panel, const void *x, int64_t stride, int64_t rows, int64_t cols, int64_t depth);
  // sums [(end - begin) * rows][width], += but in the first chunk.
  void (*multiply)(float *sums, const float *panel, const kiln__sparse_lists *l, const kiln__sparse_part *p);
  // The end of a product, from sums [cols of c][width].
  void (*finish)(const struct kiln__gemm_finish *f, const struct kiln__gemm_part *c, const float *sums, float *turned);
  // gradients [entries][depth][rows] += the sums over the rows of panels of x and of dy.
  void (*gradient)(float *gradients, const kiln__sparse_panels *x, const kiln__sparse_panels *dy,
                   const kiln__sparse_lists *l, const kiln__sparse_part *p);

  // The same for groups of KILN_SPARSE_WIDE rows.
  int32_t tile;  // rows of x at once
  // rows [count rounded up to tiles][depth] from x [count][cols], stride 1 in a row; 0 beyond.
  void (*copy)(float *rows, const void *x, int64_t stride, int64_t count, int64_t cols, int64_t depth);
  // One group: columns c->j ... of rows c->i ... of a product, from copied rows, `ld` floats apart.
  void (*multiply_blocks)(const struct kiln__gemm_finish *f, const struct kiln__gemm_part *c, const float *x,
                          int64_t ld, const kiln__sparse_lists *l, int64_t group);
  // Slabs [..][width] of `width` columns each, `apart` floats from one to the next, from x [rows][cols], stride 1 in a
  // row; 0 beyond.
  void (*cut)(float *slabs, const void *x, int64_t stride, int64_t rows, int64_t cols, int64_t width, int64_t apart);
  // gradients [depth][KILN_SPARSE_WIDE] += the sums over `rows` rows of slabs of x, `depth` wide, and of dy.
  void (*gradient_blocks)(float *gradients, const float *x, const float *dy, int64_t rows, int64_t depth);

  // NULL where picking is slow. The same for KILN_SPARSE_WIDE rows of W in groups of four, of which some are kept, at
  // places as vf_pick wants them: gradients [groups][kept][KILN_SPARSE_WIDE] += from a slab of x, `ld` wide.
  void (*gradient_groups)(float *gradients, const int32_t *places, const float *x, int64_t ld, const float *dy,
                          int64_t rows, int64_t groups, int kept);
} kiln__sparse_kernels;

extern const kiln__sparse_kernels kiln__sparse_ref_f32, kiln__sparse_ref_f64, kiln__sparse_ref_bf16,
    kiln__sparse_ref_f16;

#endif
