// A context's OpenCL device: its queue, its memory, and the programs that run on it.
#ifndef KILN_OPENCL_DEVICE_H
#define KILN_OPENCL_DEVICE_H

#include "core/internal.h"
#include "opencl/api.h"
#include "opencl/tile.h"

#pragma GCC visibility push(hidden)

// A buffer, and the reserved addresses that stand for its bytes: pages that nobody can read. So tensor views, their
// offsets and slices are what they are on the host, and the place in a buffer is found when a kernel is launched.
typedef struct kiln__cl_buffer {
  char *base;
  size_t size;
  cl_mem memory;
  void *pages;  // of the host, in which a CPU has its bytes; NULL for the driver's own
} kiln__cl_buffer;

typedef enum kiln__cl_program {
  KILN_CL_ACTIVATION, KILN_CL_ATTENTION, KILN_CL_ELEMENTWISE, KILN_CL_EMBEDDING, KILN_CL_GEMM, KILN_CL_LOSS,
  KILN_CL_NORM, KILN_CL_OPTIM, KILN_CL_QUANT, KILN_CL_ROPE, KILN_CL_FAMILIES,
  KILN_CL_PROGRAMS = 4 * KILN_CL_FAMILIES  // in F32, BF16, F16 and U8
} kiln__cl_program;

// The program of a family for tensors of F32, BF16 or F16; of updates, for states in 8 bits as well.
static inline kiln__cl_program kiln__cl_of(kiln__cl_program family, kiln_dtype dtype) {
  int type = dtype == KILN_BF16 ? 1 : dtype == KILN_F16 ? 2 : dtype == KILN_U8 ? 3 : 0;
  return (kiln__cl_program)(type * KILN_CL_FAMILIES + family);
}

enum { KILN_CL_KERNELS = 256, KILN_CL_PATH = 1024 };

typedef struct kiln__cl {
  const kiln__cl_api *api;
  cl_device_id device;
  cl_context context;
  cl_command_queue queue, transfers;  // the second one once it is wanted
  kiln__cl_buffer *buffers;  // by address
  int buffer_count, buffer_capacity;
  cl_program programs[KILN_CL_PROGRAMS];
  struct {
    const char *name;
    kiln__cl_program program;
    cl_kernel kernel;
    int64_t launches;
    double seconds;
  } kernels[KILN_CL_KERNELS];
  int kernel_count;
  bool is_profiled;
  struct { cl_kernel kernel; cl_event event; } *events;  // not counted yet
  int event_count, event_capacity;
  void *maps[3];             // of 8-bit states, once they are wanted
  kiln_opencl_info info;
  const kiln__cl_tile *tile;
  char cache[KILN_CL_PATH];  // folder of compiled programs; "" for none
  int32_t group;             // work items that share a row: 1 where an item has vectors of its own
  bool has_subgroups;        // in which a group may reduce
} kiln__cl;

// Every public function of devices starts with it: refuses contexts of the host, too.
kiln_status kiln__cl_begin(kiln_context *ctx, const char *op);

// Opens a device by its index; `cache` and the name of a tile may be NULL. On an error a line is in `error`.
kiln_status kiln__cl_create(int32_t index, const char *cache, const char *tile, kiln__cl **out, char *error,
                            size_t size);

// Where compiled programs are kept: the given folder, or else that of the environment.
void kiln__cl_choose_cache(char folder[KILN_CL_PATH], const char *given);
void kiln__cl_end(kiln__cl *cl);

// The tile that was kept for a device; NULL for none.
const kiln__cl_tile *kiln__cl_kept_tile(const kiln__cl *cl);

// The buffer of an address; NULL for one of the host.
const kiln__cl_buffer *kiln__cl_find(const kiln__cl *cl, const void *address);

kiln_status kiln__cl_alloc(kiln_context *ctx, size_t bytes, void **out);
kiln_status kiln__cl_release(kiln_context *ctx, void *address);
void kiln__cl_free_all(kiln__cl *cl);

// Memory that lasts as long as the context, with some bytes of the host in it; `*place` is NULL until then.
kiln_status kiln__cl_constant(kiln_context *ctx, void **place, const void *bytes, size_t size);

// The place of bytes on the device, all of which must be there.
kiln_status kiln__cl_locate(kiln_context *ctx, const void *device, size_t bytes, cl_mem *memory, size_t *offset);

// Bytes of the host to the device, after all that was asked for before. Nothing in query mode.
kiln_status kiln__cl_upload(kiln_context *ctx, void *device, const void *host, size_t bytes);
// And back, when all is done.
kiln_status kiln__cl_download(kiln_context *ctx, void *host, const void *device, size_t bytes);

// A kernel of a program, built or taken from the cache when it is first asked for. Its name is a literal.
kiln_status kiln__cl_kernel(kiln_context *ctx, kiln__cl_program program, const char *name, cl_kernel *out);

// Notes a launch of a kernel whose event has been asked for, and gives up the event when it is counted.
kiln_status kiln__cl_note(kiln_context *ctx, cl_kernel kernel, cl_event event);
void kiln__cl_forget(kiln__cl *cl);

// Whether a failed call wanted more memory than there is.
bool kiln__cl_is_memory(cl_int code);

// Turns the code of a failed call into a failure of the context.
kiln_status kiln__cl_fail(kiln_context *ctx, const char *call, cl_int code);

#pragma GCC visibility pop
#endif
