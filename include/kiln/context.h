/// Contexts: device, threads, instruction set, workspace and the last error of one caller.
#ifndef KILN_CONTEXT_H
#define KILN_CONTEXT_H

#include "tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/// One per thread of the caller: calls on the same context must not overlap. There are no globals behind it, so
/// contexts are independent of each other. Reuse is only speed, never meaning.
typedef struct kiln_context kiln_context;

typedef enum kiln_device {
  KILN_DEVICE_CPU = 0, ///< the fastest kernels for this CPU
  KILN_DEVICE_REF = 1, ///< the plain reference loops
  KILN_DEVICE_OPENCL = 2 ///< an OpenCL device, with a memory of its own: device.h
} kiln_device;

typedef enum kiln_isa {
  KILN_ISA_BEST = 0,   ///< the best that this CPU and build have
  KILN_ISA_SCALAR = 1, ///< the kernels' bodies at one lane, no instruction beyond the platform's base
  KILN_ISA_AVX2 = 10,  ///< AVX2 + FMA
  KILN_ISA_AVX512 = 20,///< AVX-512 F, BW, DQ, VL
  KILN_ISA_NEON = 40,
  KILN_ISA_AVX512_BF16 = 21, ///< AVX512_VNNI, and AVX512_BF16 for products of bf16
  KILN_ISA_AMX = 22,         ///< AVX512_VNNI, and AMX-BF16 for products of bf16; where Linux permits tile data
  KILN_ISA_AVX512_VNNI = 23  ///< AVX512, and AVX512_VNNI for products of int8
} kiln_isa;

/// Who multiplies matrices. Kiln's own kernels give the same bits for any thread count. OpenBLAS does not: it cuts its
/// work by the number of threads. It is loaded when it is asked for, takes products of F32 alone (others, and strides
/// that BLAS does not know, go Kiln's way), and its number of threads is set for the whole process. The device
/// KILN_DEVICE_REF has its plain loops whatever is asked for.
typedef enum kiln_gemm_provider {
  KILN_GEMM_DEFAULT = 0, ///< the environment variable KILN_GEMM (kiln, openblas), else Kiln's own
  KILN_GEMM_KILN = 1,
  KILN_GEMM_OPENBLAS = 2
} kiln_gemm_provider;

typedef struct kiln_context_options {
  uint32_t size;
  kiln_device device;
  kiln_isa isa;     ///< default: the environment variable KILN_ISA (scalar, avx2, avx512, avx512_vnni, avx512_bf16,
                    ///< amx, neon), else the best there is
  int32_t threads;  ///< default: the environment variable KILN_THREADS, else the CPUs this process may run on
  kiln_gemm_provider gemm;
  int32_t device_index; ///< which of the OpenCL devices, default 0
  const char *cache;    ///< a folder for compiled OpenCL kernels, default opencl in KILN_CACHE, XDG_CACHE_HOME/kiln or
                        ///< ~/.cache/kiln; one that cannot be written is done without
  const char *tile;     ///< of sums in products on an OpenCL device, one of `kiln_opencl_tile`; default: as tuned
                        ///< (`kiln_device_keep_tile`), else by the class of the device
} kiln_context_options;

static inline kiln_context_options kiln_context_defaults(void) {
  kiln_context_options o = {(uint32_t)sizeof(kiln_context_options), KILN_DEVICE_CPU, KILN_ISA_BEST, 0,
                            KILN_GEMM_DEFAULT, 0, NULL, NULL};
  return o;
}

/// Makes a context. The caller owns `*out` and ends it with `kiln_context_free`.
/// On an error `*out` is NULL and `kiln_last_error(NULL)` tells what was wrong.
/// @return KILN_ERR_ISA, KILN_ERR_DEVICE, KILN_ERR_LIBRARY, KILN_ERR_OPTION, KILN_ERR_MEMORY
KILN_API kiln_status kiln_context_create(kiln_context **out, const kiln_context_options *options);

/// Ends a context; NULL is accepted.
KILN_API void kiln_context_free(kiln_context *ctx);

/// One line about the last failure on `ctx`, "" if there was none; valid until the next call on it.
/// With NULL: the last failure of `kiln_context_create` on this thread.
KILN_API const char *kiln_last_error(const kiln_context *ctx);

KILN_API int32_t kiln_context_threads(const kiln_context *ctx);

/// The name of the row of kernels in use: "ref", "opencl" or one of the names that KILN_ISA takes.
KILN_API const char *kiln_context_isa(const kiln_context *ctx);

/// Who multiplies matrices: "kiln" or "openblas".
KILN_API const char *kiln_context_gemm(const kiln_context *ctx);

/// Whether this CPU and build have the instruction set.
KILN_API bool kiln_isa_available(kiln_isa isa);

/// Scratch memory. By default it grows on demand and belongs to the context. A caller that plans its memory gives the
/// context `bytes` at `data` instead (64-byte aligned, kept by the caller until replaced); calls that need more fail
/// with KILN_ERR_WORKSPACE. `data` NULL goes back to growing on demand.
KILN_API kiln_status kiln_context_set_workspace(kiln_context *ctx, void *data, size_t bytes);

/// Query mode. While it is on, every function checks its arguments (data may be NULL), notes the scratch it would
/// need, and returns without touching any data.
KILN_API void kiln_context_set_query(kiln_context *ctx, bool on);

/// The most scratch that any call on this context has needed since the last `kiln_context_reset_workspace_peak`.
KILN_API size_t kiln_context_workspace_peak(const kiln_context *ctx);
KILN_API void kiln_context_reset_workspace_peak(kiln_context *ctx);

#ifdef __cplusplus
}
#endif
#endif
