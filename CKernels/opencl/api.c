#include "opencl/api.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static kiln__cl_api api;
static const char *missing;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void) {
#if defined(__APPLE__)
  static const char *const names[] = {"/System/Library/Frameworks/OpenCL.framework/OpenCL"};
#else
  static const char *const names[] = {"libOpenCL.so.1", "libOpenCL.so"};
#endif
  void *library = NULL;
  for (size_t i = 0; !library && i < sizeof names / sizeof *names; i++) library = dlopen(names[i], RTLD_NOW);
  if (!library) {
    missing = names[0];
    return;
  }
#define LOAD(result, name, parameters)             \
  *(void **)&api.name = dlsym(library, #name);     \
  if (!api.name && !missing) missing = #name;
  KILN__CL_FUNCTIONS(LOAD)
#undef LOAD
}

const kiln__cl_api *kiln__cl_open(char *error, size_t size) {
  pthread_once(&once, load);
  if (!missing) return &api;
  snprintf(error, size, "OpenCL is not installed: %s is missing; install a driver and its loader, such as Debian's "
           "ocl-icd-libopencl1 with pocl-opencl-icd for the CPU", missing);
  return NULL;
}

const char *kiln__cl_error(cl_int code) {
  static _Thread_local char number[24];
  switch (code) {
    case CL_DEVICE_NOT_FOUND: return "CL_DEVICE_NOT_FOUND";
    case CL_DEVICE_NOT_AVAILABLE: return "CL_DEVICE_NOT_AVAILABLE";
    case CL_MEM_OBJECT_ALLOCATION_FAILURE: return "CL_MEM_OBJECT_ALLOCATION_FAILURE";
    case CL_OUT_OF_RESOURCES: return "CL_OUT_OF_RESOURCES";
    case CL_OUT_OF_HOST_MEMORY: return "CL_OUT_OF_HOST_MEMORY";
    case CL_INVALID_BUFFER_SIZE: return "CL_INVALID_BUFFER_SIZE";
    default: snprintf(number, sizeof number, "error %d", code); return number;
  }
}
