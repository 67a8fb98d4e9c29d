// A piece of some strips is unpacked to fp32, in the first cache, and packed from there.
#include "gemm/blocks.h"

#include "core/internal.h"

enum {
  PIECE = 64,         // columns and steps of a piece; a multiple of every block
  SPAN = 2 * PIECE,   // most elements of the blocks that PIECE of them lie in
};

int64_t kiln__block_elements(kiln_block_format format) {
  return format == KILN_NF4 ? KILN_NF4_BLOCK : kiln_block_bytes(format) > 0 ? KILN_GGUF_BLOCK : 0;
}

int64_t kiln__block_size(kiln_block_format format) {
  return format == KILN_NF4 ? KILN_NF4_BLOCK / 2 : (int64_t)kiln_block_bytes(format);
}

void kiln__unpack_blocks(const kiln__quant_kernels *quant, const kiln__blocks *b, float *to, int64_t r, int64_t c,
                         int64_t n) {
  int64_t elements = kiln__block_elements(b->format), bytes = kiln__block_size(b->format);
  const uint8_t *from = b->data + r * b->stride + c / elements * bytes;
  for (int64_t i = 0; i < n; i += elements, from += bytes) {
    if (b->format != KILN_NF4) quant->from_gguf(to + i, from, b->format);
    else quant->from_nf4(to + i, from, b->absmax[(r * b->cols + c + i) / elements], elements);
  }
}

typedef struct piece {
  const float *from;
  int64_t across, along;  // strides from column to column of b, and along k
} piece;

// Unpacks some columns and steps, no more than PIECE of each, to `values`.
static piece unpack_piece(const kiln__quant_kernels *quant, const kiln__blocks *b, float *values, int64_t j,
                          int64_t columns, int64_t k, int64_t steps) {
  // Rows and columns as they lie in memory.
  int64_t row = b->along_k ? j : k, rows = b->along_k ? columns : steps;
  int64_t col = b->along_k ? k : j, cols = b->along_k ? steps : columns;
  int64_t elements = kiln__block_elements(b->format), begin = col / elements * elements;
  int64_t span = kiln__round_up(col + cols - begin, elements);
  for (int64_t r = 0; r < rows; r++) kiln__unpack_blocks(quant, b, values + r * span, row + r, begin, span);
  return (piece){values + col - begin, b->along_k ? span : 1, b->along_k ? 1 : span};
}

void kiln__pack_blocks(const kiln__quant_kernels *quant, const kiln__blocks *b, kiln__gemm_pack *pack, float *to,
                       int64_t width, int64_t j, int64_t extent, int64_t k, int64_t depth, int64_t strips) {
  float values[PIECE * SPAN];
  int64_t together = kiln__max(1, PIECE / width);
  for (int64_t s = 0; s < strips; s += together) {
    int64_t first = s * width, columns = kiln__min(together * width, extent - first);
    for (int64_t at = 0; at < depth; at += PIECE) {
      int64_t steps = kiln__min(PIECE, depth - at);
      piece p = unpack_piece(quant, b, values, j + first, columns, k + at, steps);
      for (int64_t i = s; i < kiln__min(s + together, strips); i++) {
        pack(to + (i * depth + at) * width, p.from + (i - s) * width * p.across, p.across, p.along, extent - i * width,
             steps, 1);
      }
    }
  }
}
