#include "core/internal.h"

#include <stdio.h>
#include <stdlib.h>

static bool always(void) { return true; }

static const kiln__row reference = {.name = "ref", .available = always};

// Best first.
static const kiln__row *const rows[] = {
#if defined(__x86_64__)
    &kiln__row_amx, &kiln__row_avx512_bf16, &kiln__row_avx512_vnni, &kiln__row_avx512, &kiln__row_avx2,
#elif defined(__aarch64__)
    &kiln__row_neon,
#endif
    &kiln__row_scalar,
};
enum { ROWS = sizeof rows / sizeof *rows };

bool kiln_isa_available(kiln_isa isa) {
  if (isa == KILN_ISA_BEST) return true;
  for (int i = 0; i < ROWS; i++) {
    if (rows[i]->isa == isa) return rows[i]->available();
  }
  return false;
}

static kiln_status no_row(char *error, size_t size, const char *wanted) {
  int at = snprintf(error, size, "context_create: instruction set %s is not available here; there are", wanted);
  for (int i = 0; i < ROWS; i++) {
    if (!rows[i]->available() || at < 0 || (size_t)at >= size) continue;
    at += snprintf(error + at, size - (size_t)at, " %s", rows[i]->name);
  }
  return KILN_ERR_ISA;
}

kiln_status kiln__choose_row(kiln_device device, kiln_isa isa, const kiln__row **row, char *error, size_t error_size) {
  *row = &reference;
  if (device == KILN_DEVICE_REF) return KILN_OK;
  const char *variable = getenv("KILN_ISA");
  bool by_name = isa == KILN_ISA_BEST && variable && *variable;
  for (int i = 0; i < ROWS; i++) {
    bool wanted = by_name ? strcmp(rows[i]->name, variable) == 0 : isa == KILN_ISA_BEST || rows[i]->isa == isa;
    if (!wanted || !rows[i]->available()) continue;
    *row = rows[i];
    return KILN_OK;
  }
  char number[24];
  snprintf(number, sizeof number, "%d", isa);
  return no_row(error, error_size, by_name ? variable : number);
}

void kiln__fill_kernels(kiln__kernels kernels[KILN_COLUMNS], const kiln__row *row) {
  if (row->base) kiln__fill_kernels(kernels, row->base);
#define COLUMN_OR(family, dtype, type, reference)                  \
  kernels[dtype].family = row->type.family ? row->type.family      \
                          : row->base      ? kernels[dtype].family \
                                           : &reference
#define COLUMN(family, dtype, type) COLUMN_OR(family, dtype, type, kiln__##family##_ref_##type)
#define WIDE(family)                                    \
  COLUMN(family, KILN_F32, f32);                        \
  kernels[KILN_F64].family = &kiln__##family##_ref_f64
#define FAMILY(family)             \
  WIDE(family);                    \
  COLUMN(family, KILN_BF16, bf16); \
  COLUMN(family, KILN_F16, f16)
  FAMILY(activation);
  FAMILY(attention);
  FAMILY(elementwise);
  FAMILY(embedding);
  FAMILY(loss);
  FAMILY(norm);
  FAMILY(rope);
  FAMILY(sparse);
  WIDE(optim);
  COLUMN(quant, KILN_F32, f32);
#define PRODUCTS(dtype, type)                               \
  COLUMN_OR(gemm, dtype, type, kiln__gemm_ref_f32);         \
  COLUMN_OR(gemm_mixed, dtype, type, kiln__gemm_ref_f32)
  PRODUCTS(KILN_F32, f32);
  PRODUCTS(KILN_BF16, bf16);
  PRODUCTS(KILN_F16, f16);
  PRODUCTS(KILN_I8, i8);
  PRODUCTS(KILN_F8_E4M3, e4m3);
  PRODUCTS(KILN_F8_E5M2, e5m2);
  kernels[KILN_F64].gemm = &kiln__gemm_ref_f64;
#undef PRODUCTS
#undef FAMILY
#undef WIDE
#undef COLUMN
#undef COLUMN_OR
}
