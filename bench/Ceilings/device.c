// Ceilings of an OpenCL device: chains of multiply-adds in registers, and an update of memory in place.
#define _GNU_SOURCE
#include "ceilings.h"
#include "together.h"

#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>

enum {
  MAX_PLATFORMS = 16, MAX_DEVICES = 64,
  DEVICE_TYPE_ALL = -1, DEVICE_MAX_COMPUTE_UNITS = 0x1002, DEVICE_COMPILER_AVAILABLE = 0x1028, MEM_READ_WRITE = 1,
  ITEMS = 64, GROUPS_PER_UNIT = 32, CHAINS = 8, LANES = 8,
};

static const char source[] =
    "#pragma OPENCL FP_CONTRACT ON\n"
    "__kernel void chains(__global float *out, const int rounds) {\n"
    // No two lanes, chains or items have the same numbers: a compiler would keep one for all.
    "  const float8 x = 1e-4f * ((float8)(1, 2, 3, 4, 5, 6, 7, 8) + 9 * (float)get_global_id(0));\n"
    "  float8 a = x, b = 2 * x, c = 3 * x, d = 4 * x, e = 5 * x, f = 6 * x, g = 7 * x, h = 8 * x;\n"
    "  for (int i = 0; i < rounds; i++) {\n"
    "    a = fma(a, x, x); b = fma(b, x, x); c = fma(c, x, x); d = fma(d, x, x);\n"
    "    e = fma(e, x, x); f = fma(f, x, x); g = fma(g, x, x); h = fma(h, x, x);\n"
    "  }\n"
    "  a = a + b + c + d + e + f + g + h;\n"
    "  out[get_global_id(0)] = a.s0 + a.s1 + a.s2 + a.s3 + a.s4 + a.s5 + a.s6 + a.s7;\n"
    "}\n"
    "__kernel void update(__global float8 *x, const float factor) { x[get_global_id(0)] *= factor; }\n";

// The functions of OpenCL 1.2 that are used, found in the loader when a device is opened.
#define FUNCTIONS(F)                                                                                        \
  F(GetPlatformIDs, int, (unsigned, void **, unsigned *))                                                  \
  F(GetDeviceIDs, int, (void *, uint64_t, unsigned, void **, unsigned *))                                  \
  F(GetDeviceInfo, int, (void *, unsigned, size_t, void *, size_t *))                                      \
  F(CreateContext, void *, (void *, unsigned, void **, void *, void *, int *))                             \
  F(CreateCommandQueue, void *, (void *, void *, uint64_t, int *))                                         \
  F(CreateBuffer, void *, (void *, uint64_t, size_t, void *, int *))                                       \
  F(CreateProgramWithSource, void *, (void *, unsigned, const char **, const size_t *, int *))             \
  F(BuildProgram, int, (void *, unsigned, void **, const char *, void *, void *))                          \
  F(CreateKernel, void *, (void *, const char *, int *))                                                   \
  F(SetKernelArg, int, (void *, unsigned, size_t, const void *))                                           \
  F(EnqueueNDRangeKernel, int, (void *, void *, unsigned, size_t *, size_t *, size_t *, unsigned, void *, void *)) \
  F(Finish, int, (void *))                                                                                 \
  F(ReleaseKernel, int, (void *))                                                                          \
  F(ReleaseProgram, int, (void *))                                                                         \
  F(ReleaseMemObject, int, (void *))                                                                       \
  F(ReleaseCommandQueue, int, (void *))                                                                    \
  F(ReleaseContext, int, (void *))

struct ceiling_device {
#define MEMBER(name, result, parameters) result(*name) parameters;
  FUNCTIONS(MEMBER)
#undef MEMBER
  void *device, *context, *queue, *memory, *program, *chains, *update;
  size_t bytes;
  unsigned units;
};

static bool load(ceiling_device *d) {
  void *library = dlopen("libOpenCL.so.1", RTLD_NOW);
  if (!library) return false;
#define LOAD(name, result, parameters) \
  if (!(*(void **)&d->name = dlsym(library, "cl" #name))) return false;
  FUNCTIONS(LOAD)
#undef LOAD
  return true;
}

// Counted as Kiln counts them: of all platforms in their order, those that compile.
static bool find(ceiling_device *d, int index) {
  void *platforms[MAX_PLATFORMS], *devices[MAX_DEVICES];
  unsigned platform_count = 0, device_count = 0;
  if (d->GetPlatformIDs(MAX_PLATFORMS, platforms, &platform_count)) return false;
  for (unsigned p = 0; p < platform_count && p < MAX_PLATFORMS; p++) {
    if (d->GetDeviceIDs(platforms[p], (uint32_t)DEVICE_TYPE_ALL, MAX_DEVICES, devices, &device_count)) continue;
    for (unsigned i = 0; i < device_count && i < MAX_DEVICES; i++) {
      unsigned compiles = 0;
      d->GetDeviceInfo(devices[i], DEVICE_COMPILER_AVAILABLE, sizeof compiles, &compiles, NULL);
      if (!compiles || index-- > 0) continue;
      d->device = devices[i];
      return !d->GetDeviceInfo(d->device, DEVICE_MAX_COMPUTE_UNITS, sizeof d->units, &d->units, NULL);
    }
  }
  return false;
}

static bool prepare(ceiling_device *d) {
  int code;
  const char *text = source;
  const size_t length = sizeof source - 1;
  float factor = 0.5f;
  return (d->context = d->CreateContext(NULL, 1, &d->device, NULL, NULL, &code)) &&
         (d->queue = d->CreateCommandQueue(d->context, d->device, 0, &code)) &&
         (d->memory = d->CreateBuffer(d->context, MEM_READ_WRITE, d->bytes, NULL, &code)) &&
         (d->program = d->CreateProgramWithSource(d->context, 1, &text, &length, &code)) &&
         !d->BuildProgram(d->program, 1, &d->device, "-cl-std=CL1.2", NULL, NULL) &&
         (d->chains = d->CreateKernel(d->program, "chains", &code)) &&
         (d->update = d->CreateKernel(d->program, "update", &code)) &&
         !d->SetKernelArg(d->chains, 0, sizeof d->memory, &d->memory) &&
         !d->SetKernelArg(d->update, 0, sizeof d->memory, &d->memory) &&
         !d->SetKernelArg(d->update, 1, sizeof factor, &factor);
}

ceiling_device *ceiling_device_open(int index, size_t bytes) {
  ceiling_device *d = calloc(1, sizeof *d);
  if (!d) return NULL;
  d->bytes = bytes / (ITEMS * LANES * sizeof(float)) * (ITEMS * LANES * sizeof(float));
  if (load(d) && find(d, index) && prepare(d) && ceiling_device_bandwidth(d) > 0) return d;
  ceiling_device_close(d);
  return NULL;
}

void ceiling_device_close(ceiling_device *d) {
  if (!d) return;
  if (d->chains) d->ReleaseKernel(d->chains);
  if (d->update) d->ReleaseKernel(d->update);
  if (d->program) d->ReleaseProgram(d->program);
  if (d->memory) d->ReleaseMemObject(d->memory);
  if (d->queue) d->ReleaseCommandQueue(d->queue);
  if (d->context) d->ReleaseContext(d->context);
  free(d);
}

// Seconds of one launch over so many items; 0 where it fails.
static double launch(ceiling_device *d, void *kernel, size_t items) {
  size_t group = ITEMS;
  double start = seconds_now();
  if (d->EnqueueNDRangeKernel(d->queue, kernel, 1, NULL, &items, &group, 0, NULL, NULL) || d->Finish(d->queue)) return 0;
  return seconds_now() - start;
}

double ceiling_device_compute(ceiling_device *d, double seconds) {
  size_t items = (size_t)d->units * GROUPS_PER_UNIT * ITEMS;
  // More rounds until a launch takes that long, so that what a launch costs does not show.
  for (int rounds = 1024; rounds <= 1 << 28; rounds *= 2) {
    if (d->SetKernelArg(d->chains, 1, sizeof rounds, &rounds)) return 0;
    double taken = launch(d, d->chains, items);
    if (taken <= 0) return 0;
    if (taken >= seconds / 2) return (double)items * rounds * CHAINS * LANES * 2 / taken;
  }
  return 0;
}

double ceiling_device_bandwidth(ceiling_device *d) {
  double taken = launch(d, d->update, d->bytes / (LANES * sizeof(float)));
  return taken > 0 ? 2 * (double)d->bytes / taken : 0;
}
