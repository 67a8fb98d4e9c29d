/// Tensor views: where data lies and how it is laid out.
#ifndef KILN_TENSOR_H
#define KILN_TENSOR_H

#include "status.h"

#ifdef __cplusplus
extern "C" {
#endif

/// Element types. Numbers are fixed for good.
/// F16 (IEEE 754 binary16) and BF16 are narrow: tensors are stored in them, arithmetic is in fp32, and results are
/// rounded to the nearest, ties to even; beyond the largest number, 65504 in F16, to infinity.
typedef enum kiln_dtype {
  KILN_F32 = 0,
  KILN_F64 = 1,
  KILN_F16 = 2,
  KILN_BF16 = 3,
  KILN_I32 = 4,
  KILN_I64 = 5,
  KILN_U8 = 6,
  KILN_I8 = 7,
  KILN_F8_E4M3 = 8, ///< up to 448, without infinities
  KILN_F8_E5M2 = 9  ///< up to 57344
} kiln_dtype;

enum { KILN_MAX_RANK = 6 };

/// A view of memory that somebody else owns: an array, a mapped file, a buffer of NumPy.
/// Element (i0, i1, ...) lies at `(char *)data + offset + itemsize * (i0 * strides[0] + i1 * strides[1] + ...)`.
/// The data needs the alignment of its element type, no more.
typedef struct kiln_tensor {
  void *data;                     ///< address, of a device's memory for its contexts (device.h); NULL is accepted only in
                                  ///< query mode (context.h)
  int64_t offset;                 ///< bytes from `data` to element 0
  kiln_dtype dtype;
  int32_t rank;                   ///< 0 (one element) to KILN_MAX_RANK
  int64_t shape[KILN_MAX_RANK];   ///< extents; 0 is an empty tensor
  int64_t strides[KILN_MAX_RANK]; ///< elements (not bytes) from one index to the next; never negative
} kiln_tensor;

/// Bytes of one element, 0 for an unknown type.
KILN_API size_t kiln_dtype_size(kiln_dtype dtype);

/// "f32", "bf16" ...; "unknown" for an unknown type. Never NULL.
KILN_API const char *kiln_dtype_name(kiln_dtype dtype);

/// A dense row-major view of `data`. `rank` is clamped to 0 ... KILN_MAX_RANK; extents are checked where the view is
/// used.
KILN_API kiln_tensor kiln_tensor_dense(void *data, kiln_dtype dtype, int32_t rank, const int64_t *shape);

#ifdef __cplusplus
}
#endif
#endif
