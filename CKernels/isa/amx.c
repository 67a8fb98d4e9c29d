// AMX: avx512_vnni, and tdpbf16ps for products of bf16; a tile of 32 x 32 sums fills 4 of the 8 tile registers.
#include "core/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#pragma clang attribute push(                                                                                  \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-bf16,avx2,fma,f16c"))), \
    apply_to = function)

#define KILN_VL 16
#define KILN_FMA 1
#define KILN_GEMM_MR 32
#define KILN_GEMM_NV 2
#define KILN_GEMM_KC 384
#define KILN_GEMM_MC 224
#include "simd/vec.h"
#include "simd/act.h"
#include "gemm/amx_kernel.h"

#pragma clang attribute pop

// Linux lets a process use tile data once it has asked for it.
static bool permitted(void) {
#if defined(__linux__)
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
  return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
  return false;
#endif
}

static bool available(void) {
  return kiln__row_avx512_vnni.available() && __builtin_cpu_supports("amx-tile") && __builtin_cpu_supports("amx-bf16") &&
         permitted();
}

const kiln__row kiln__row_amx = {
    "amx", KILN_ISA_AMX, available, .bf16.gemm = &gemm_kernels, .base = &kiln__row_avx512_vnni};
#endif
