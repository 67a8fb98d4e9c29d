// A CPU is a table: for each family and dtype, the kernels to use. It starts as the reference row; each instruction set
// overrides the families that it does better.
#ifndef KILN_TABLE_H
#define KILN_TABLE_H

#include "activation/kernels.h"
#include "attention/kernels.h"
#include "elementwise/kernels.h"
#include "embedding/kernels.h"
#include "gemm/kernels.h"
#include "loss/kernels.h"
#include "norm/kernels.h"
#include "optim/kernels.h"
#include "quant/kernels.h"
#include "rope/kernels.h"
#include "sparse/kernels.h"

// One column: the kernels for one dtype. A family's file `kernels.h` says what they take; all are serial.
typedef struct kiln__kernels {
  const kiln__activation_kernels *activation;
  const kiln__attention_kernels *attention;
  const kiln__elementwise_kernels *elementwise;
  const kiln__embedding_kernels *embedding;
  const kiln__gemm_kernels *gemm;
  const kiln__gemm_kernels *gemm_mixed;  // beside an operand of another column: their tiles are all the same
  const kiln__loss_kernels *loss;
  const kiln__norm_kernels *norm;
  const kiln__optim_kernels *optim;
  const kiln__quant_kernels *quant;  // in the column F32 alone
  const kiln__rope_kernels *rope;
  const kiln__sparse_kernels *sparse;
} kiln__kernels;

// One instruction set: NULL families are those of the row that it extends, or else the reference's.
typedef struct kiln__row {
  const char *name;
  kiln_isa isa;
  bool (*available)(void);
  kiln__kernels f32, bf16, f16;
  kiln__kernels i8, e4m3, e5m2;  // gemm alone
  const struct kiln__row *base;  // the row that it extends; NULL: none
} kiln__row;

extern const kiln__row kiln__row_scalar, kiln__row_avx2, kiln__row_avx512, kiln__row_avx512_vnni, kiln__row_avx512_bf16,
    kiln__row_amx, kiln__row_neon;

// The row for a device and an instruction set (KILN_ISA_BEST: the environment's, else the best available).
kiln_status kiln__choose_row(kiln_device device, kiln_isa isa, const kiln__row **row, char *error, size_t error_size);

// The columns of a context, by dtype.
enum { KILN_COLUMNS = KILN_F8_E5M2 + 1 };

// Fills the columns of a context: the reference, then what the row's base and the row override.
void kiln__fill_kernels(kiln__kernels kernels[KILN_COLUMNS], const kiln__row *row);

#endif
