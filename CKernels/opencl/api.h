// What Kiln uses of OpenCL 1.2, by the specification's names: types, constants, and functions that are found at run time.
#ifndef KILN_OPENCL_API_H
#define KILN_OPENCL_API_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(hidden)

typedef int32_t cl_int;
typedef uint32_t cl_uint;
typedef uint64_t cl_ulong;
typedef cl_uint cl_bool;
typedef cl_ulong cl_bitfield;

typedef struct cl__platform *cl_platform_id;
typedef struct cl__device *cl_device_id;
typedef struct cl__context *cl_context;
typedef struct cl__queue *cl_command_queue;
typedef struct cl__memory *cl_mem;
typedef struct cl__program *cl_program;
typedef struct cl__kernel *cl_kernel;
typedef struct cl__event *cl_event;

enum {
  CL_SUCCESS = 0,
  CL_DEVICE_NOT_FOUND = -1,
  CL_DEVICE_NOT_AVAILABLE = -2,
  CL_MEM_OBJECT_ALLOCATION_FAILURE = -4,
  CL_OUT_OF_RESOURCES = -5,
  CL_OUT_OF_HOST_MEMORY = -6,
  CL_INVALID_BUFFER_SIZE = -61,

  CL_PLATFORM_NAME = 0x0902,

  CL_DEVICE_TYPE = 0x1000,
  CL_DEVICE_MAX_COMPUTE_UNITS = 0x1002,
  CL_DEVICE_MAX_WORK_GROUP_SIZE = 0x1004,
  CL_DEVICE_MAX_MEM_ALLOC_SIZE = 0x1010,
  CL_DEVICE_GLOBAL_MEM_SIZE = 0x101F,
  CL_DEVICE_COMPILER_AVAILABLE = 0x1028,
  CL_DEVICE_NAME = 0x102B,
  CL_DRIVER_VERSION = 0x102D,
  CL_DEVICE_VERSION = 0x102F,
  CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT = 0x103A,
  CL_DEVICE_MAX_NUM_SUB_GROUPS = 0x105C,

  CL_QUEUE_PROFILING_ENABLE = 1 << 1,
  CL_MEM_READ_WRITE = 1 << 0,
  CL_MEM_USE_HOST_PTR = 1 << 3,
  CL_PROGRAM_BINARY_SIZES = 0x1165,
  CL_PROGRAM_BINARIES = 0x1166,
  CL_PROGRAM_BUILD_LOG = 0x1183,
  CL_PROFILING_COMMAND_START = 0x1282,
  CL_PROFILING_COMMAND_END = 0x1283,
};
#define CL_DEVICE_TYPE_ALL 0xFFFFFFFFu
#define CL_DEVICE_TYPE_CPU (1u << 1)

// Every function: its result, name and parameters.
#define KILN__CL_FUNCTIONS(F)                                                                                         \
  F(cl_int, clGetPlatformIDs, (cl_uint, cl_platform_id *, cl_uint *))                                                 \
  F(cl_int, clGetPlatformInfo, (cl_platform_id, cl_uint, size_t, void *, size_t *))                                   \
  F(cl_int, clGetDeviceIDs, (cl_platform_id, cl_bitfield, cl_uint, cl_device_id *, cl_uint *))                        \
  F(cl_int, clGetDeviceInfo, (cl_device_id, cl_uint, size_t, void *, size_t *))                                       \
  F(cl_context, clCreateContext, (const intptr_t *, cl_uint, const cl_device_id *, void *, void *, cl_int *))         \
  F(cl_int, clReleaseContext, (cl_context))                                                                           \
  F(cl_command_queue, clCreateCommandQueue, (cl_context, cl_device_id, cl_bitfield, cl_int *))                        \
  F(cl_int, clReleaseCommandQueue, (cl_command_queue))                                                                \
  F(cl_mem, clCreateBuffer, (cl_context, cl_bitfield, size_t, void *, cl_int *))                                      \
  F(cl_int, clReleaseMemObject, (cl_mem))                                                                             \
  F(cl_program, clCreateProgramWithSource, (cl_context, cl_uint, const char **, const size_t *, cl_int *))            \
  F(cl_program, clCreateProgramWithBinary,                                                                            \
    (cl_context, cl_uint, const cl_device_id *, const size_t *, const unsigned char **, cl_int *, cl_int *))          \
  F(cl_int, clBuildProgram, (cl_program, cl_uint, const cl_device_id *, const char *, void *, void *))                \
  F(cl_int, clGetProgramInfo, (cl_program, cl_uint, size_t, void *, size_t *))                                        \
  F(cl_int, clGetProgramBuildInfo, (cl_program, cl_device_id, cl_uint, size_t, void *, size_t *))                     \
  F(cl_int, clReleaseProgram, (cl_program))                                                                           \
  F(cl_kernel, clCreateKernel, (cl_program, const char *, cl_int *))                                                  \
  F(cl_int, clReleaseKernel, (cl_kernel))                                                                             \
  F(cl_int, clSetKernelArg, (cl_kernel, cl_uint, size_t, const void *))                                               \
  F(cl_int, clEnqueueNDRangeKernel,                                                                                   \
    (cl_command_queue, cl_kernel, cl_uint, const size_t *, const size_t *, const size_t *, cl_uint, const cl_event *, \
     cl_event *))                                                                                                     \
  F(cl_int, clEnqueueReadBuffer,                                                                                      \
    (cl_command_queue, cl_mem, cl_bool, size_t, size_t, void *, cl_uint, const cl_event *, cl_event *))               \
  F(cl_int, clEnqueueWriteBuffer,                                                                                     \
    (cl_command_queue, cl_mem, cl_bool, size_t, size_t, const void *, cl_uint, const cl_event *, cl_event *))         \
  F(cl_int, clEnqueueMarkerWithWaitList, (cl_command_queue, cl_uint, const cl_event *, cl_event *))                   \
  F(cl_int, clFlush, (cl_command_queue))                                                                              \
  F(cl_int, clFinish, (cl_command_queue))                                                                             \
  F(cl_int, clWaitForEvents, (cl_uint, const cl_event *))                                                             \
  F(cl_int, clReleaseEvent, (cl_event))                                                                               \
  F(cl_int, clGetEventProfilingInfo, (cl_event, cl_uint, size_t, void *, size_t *))

typedef struct kiln__cl_api {
#define KILN__CL_MEMBER(result, name, parameters) result(*name) parameters;
  KILN__CL_FUNCTIONS(KILN__CL_MEMBER)
#undef KILN__CL_MEMBER
} kiln__cl_api;

// The functions of the ICD loader, which is opened on first use and stays; NULL where there is none. `error` then says
// what is missing.
const kiln__cl_api *kiln__cl_open(char *error, size_t size);

// "CL_OUT_OF_RESOURCES", or "error -37".
const char *kiln__cl_error(cl_int code);

#pragma GCC visibility pop
#endif
