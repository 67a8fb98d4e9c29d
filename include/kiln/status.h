/// Status codes. Numbers are fixed for good, with gaps by topic.
#ifndef KILN_STATUS_H
#define KILN_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Visible from outside the library; everything else is hidden.
#if defined(__GNUC__)
#define KILN_API __attribute__((visibility("default")))
#else
#define KILN_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum kiln_status {
  KILN_OK = 0,

  KILN_ERR_NULL = 10,      ///< a required pointer is NULL
  KILN_ERR_OPTION = 11,    ///< an option has a value outside its range
  KILN_ERR_SHAPE = 12,     ///< shapes disagree, or a size is zero or negative where it may not be
  KILN_ERR_STRIDE = 13,    ///< the memory layout of a view is not one that the function takes
  KILN_ERR_DTYPE = 14,     ///< an element type that the function does not take
  KILN_ERR_INDEX = 15,     ///< an index in the data (a token, a target, a position) is out of range
  KILN_ERR_OVERFLOW = 16,  ///< a product of sizes exceeds what can be addressed

  KILN_ERR_MEMORY = 30,    ///< memory could not be had
  KILN_ERR_WORKSPACE = 31, ///< the workspace that the caller set is smaller than the call needs

  KILN_ERR_ISA = 50,       ///< the instruction set asked for is unknown, or this CPU or build lacks it
  KILN_ERR_DEVICE = 51,    ///< the device asked for is unknown, or this build lacks it
  KILN_ERR_LIBRARY = 52    ///< a library asked for could not be loaded
} kiln_status;

/// The constant's name, such as "KILN_ERR_SHAPE"; "unknown status" for any other number. Never NULL.
KILN_API const char *kiln_status_name(kiln_status status);

#ifdef __cplusplus
}
#endif
#endif
