// Matrices in blocks of a few bits, which products unpack while they pack.
#ifndef KILN_GEMM_BLOCKS_H
#define KILN_GEMM_BLOCKS_H

#include "gemm/kernels.h"
#include "quant/kernels.h"

#pragma GCC visibility push(hidden)

// Elements and bytes of a block; 0 elements for an unknown format.
int64_t kiln__block_elements(kiln_block_format format);
int64_t kiln__block_size(kiln_block_format format);

// The n elements of row r from column c on, both multiples of a block's elements.
void kiln__unpack_blocks(const kiln__quant_kernels *quant, const kiln__blocks *b, float *to, int64_t r, int64_t c,
                         int64_t n);

// Packs `depth` steps from k on of strips of b's columns, from column j on, of which there are `extent`, by the fp32
// kernel `pack` for strips of `width`.
void kiln__pack_blocks(const kiln__quant_kernels *quant, const kiln__blocks *b, kiln__gemm_pack *pack, float *to,
                       int64_t width, int64_t j, int64_t extent, int64_t k, int64_t depth, int64_t strips);

#pragma GCC visibility pop
#endif
