/// Devices with a memory of their own, by OpenCL: what there is, and the way between their memory and the host's.
#ifndef KILN_DEVICE_H
#define KILN_DEVICE_H

#include "context.h"

#ifdef __cplusplus
extern "C" {
#endif

/// What an OpenCL device says of itself.
typedef struct kiln_opencl_info {
  uint32_t size;
  uint32_t is_cpu;
  uint32_t compute_units;
  uint32_t reserved;
  uint64_t memory;             ///< bytes
  uint64_t largest_allocation; ///< bytes
  char name[128];
  char platform[128];
  char version[64];            ///< of OpenCL
  char driver[64];
} kiln_opencl_info;

/// How many OpenCL devices there are, of all platforms in their order; contexts take their indices.
/// @return KILN_ERR_LIBRARY where no OpenCL is installed: `kiln_last_error(NULL)` tells what is missing.
KILN_API kiln_status kiln_opencl_count(int32_t *count);

/// Fills `info`, whose `size` the caller has set, as far as both sides know it.
/// @return KILN_ERR_DEVICE for an index without a device
KILN_API kiln_status kiln_opencl_describe(int32_t index, kiln_opencl_info *info);

/// Memory on the device of an OpenCL context. Tensors may lie anywhere in it: `*out` is an address for views, offsets and
/// sums of both, which nobody can read or write through; see below. All kernels of the context work on such tensors.
/// The caller ends it with `kiln_device_free`, before the context.
/// @return KILN_ERR_DEVICE for a context of the host, KILN_ERR_MEMORY
KILN_API kiln_status kiln_device_alloc(kiln_context *ctx, size_t bytes, void **out);
KILN_API kiln_status kiln_device_free(kiln_context *ctx, void *address);

/// Copies bytes to the device or from it, after all that was asked for before; the host's bytes are free, or there, on
/// return.
KILN_API kiln_status kiln_device_write(kiln_context *ctx, void *device, const void *host, size_t bytes);
KILN_API kiln_status kiln_device_read(kiln_context *ctx, void *host, const void *device, size_t bytes);

/// A part of a device's memory on its way to or from the host, beside the kernels that are asked for meanwhile.
typedef struct kiln_transfer kiln_transfer;

/// Prepares the transfer of `bytes` bytes of the device. It waits for all that was asked for before this call; kernels that
/// are asked for later must leave these bytes alone until it is over. `kiln_transfer_end` ends it, before the memory is
/// freed.
/// @return KILN_ERR_DEVICE for a context of the host, KILN_ERR_OPTION for bytes that are not the device's, KILN_ERR_MEMORY
KILN_API kiln_status kiln_transfer_begin(kiln_context *ctx, void *device, size_t bytes, kiln_transfer **out);

/// Copies bytes from `offset` of the transfer on to the host, or from the host, and returns when they are there. From any
/// thread, while another one uses the context.
/// @return KILN_ERR_OPTION for bytes beyond the transfer, KILN_ERR_DEVICE, KILN_ERR_MEMORY; no message is kept
KILN_API kiln_status kiln_transfer_read(kiln_transfer *transfer, size_t offset, void *host, size_t bytes);
KILN_API kiln_status kiln_transfer_write(kiln_transfer *transfer, size_t offset, const void *host, size_t bytes);
KILN_API void kiln_transfer_end(kiln_transfer *transfer);

/// The tiles of sums in which OpenCL devices can multiply matrices, by index: "6x16" is one of 6 rows and 16 columns in the
/// registers of an item, for CPUs; "64x64/16" is shared through local memory by 16 x 16 items, for GPUs. NULL beyond them.
KILN_API const char *kiln_opencl_tile(int32_t index);

/// The tile of a context; "" for one of the host. Another tile may give other last bits.
KILN_API const char *kiln_context_tile(const kiln_context *ctx);

/// Makes a context's tile that of all contexts of its device that are made from now on, by a file in the cache.
/// @return KILN_ERR_DEVICE for a context of the host, or where no such file can be written
KILN_API kiln_status kiln_device_keep_tile(kiln_context *ctx);

/// Waits for all that was asked for. Kernels of a device run later than the calls that ask for them; an error that shows
/// only then is returned here, or by a later call.
KILN_API kiln_status kiln_device_finish(kiln_context *ctx);

/// What a kernel of a device has taken.
typedef struct kiln_kernel_time {
  char name[32];
  int64_t launches;
  double seconds;
} kiln_kernel_time;

/// Begins to count what kernels take, by the device's own clock, from 0; or stops.
KILN_API kiln_status kiln_device_profile(kiln_context *ctx, bool on);

/// Waits for all that was asked for and tells what each kernel has taken since profiling began: at most `capacity` of them
/// in `times`, the one that took the most first. `count` is how many there are.
KILN_API kiln_status kiln_device_times(kiln_context *ctx, kiln_kernel_time *times, int32_t capacity, int32_t *count);

#ifdef __cplusplus
}
#endif
#endif
