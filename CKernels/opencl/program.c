// Programs: built from their sources when they are first asked for, and kept on disk as binaries.
#include "opencl/cache.h"
#include "opencl/sources.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { OPTIONS = 256 };

// Of a file of the cache, which is followed by the binary.
typedef struct header {
  char magic[8];
  uint64_t size, sum;
} header;

static const char magic[8] = "kilncl1";

// The file that keeps a program.
static bool file_of(const kiln__cl *cl, const kiln__cl_source *source, const char *options, char path[KILN_CL_FILE]) {
  uint64_t hash = kiln__cl_mix(KILN_CL_BASIS, kiln__cl_common.text, kiln__cl_common.length);
  hash = kiln__cl_mix(hash, source->text, source->length);
  return kiln__cl_file(cl, source->name, kiln__cl_mix(hash, options, strlen(options) + 1), path);
}

// The binary of a file; NULL where there is none, or not an intact one.
static unsigned char *recall(const char *base, size_t *size) {
  char path[KILN_CL_FILE];
  snprintf(path, KILN_CL_FILE, "%s.bin", base);
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  header h;
  struct stat status;
  unsigned char *bytes = NULL;
  bool good = fread(&h, sizeof h, 1, file) == 1 && memcmp(h.magic, magic, sizeof magic) == 0 &&
              fstat(fileno(file), &status) == 0 && (uint64_t)status.st_size == sizeof h + h.size;
  if (good) bytes = malloc(h.size);
  good = bytes && fread(bytes, 1, h.size, file) == h.size && kiln__cl_mix(KILN_CL_BASIS, bytes, h.size) == h.sum;
  fclose(file);
  if (good) *size = h.size;
  else free(bytes);
  return good ? bytes : NULL;
}

// From the binary of an earlier run; NULL if the driver does not take it.
static cl_program from_binary(const kiln__cl *cl, const char *base, const char *options) {
  size_t size;
  unsigned char *bytes = recall(base, &size);
  if (!bytes) return NULL;
  cl_int taken, code;
  cl_program program = cl->api->clCreateProgramWithBinary(cl->context, 1, &cl->device, &size,
                                                          (const unsigned char **)&bytes, &taken, &code);
  free(bytes);
  if (code == CL_SUCCESS && cl->api->clBuildProgram(program, 1, &cl->device, options, NULL, NULL) == CL_SUCCESS) {
    return program;
  }
  if (program) cl->api->clReleaseProgram(program);
  return NULL;
}

static void keep_binary(const kiln__cl *cl, cl_program program, const char *base) {
  header h = {.size = 0};
  memcpy(h.magic, magic, sizeof magic);
  size_t size = 0;
  if (cl->api->clGetProgramInfo(program, CL_PROGRAM_BINARY_SIZES, sizeof size, &size, NULL) || size == 0) return;
  unsigned char *bytes = malloc(size);
  if (!bytes) return;
  h.size = size;
  if (cl->api->clGetProgramInfo(program, CL_PROGRAM_BINARIES, sizeof bytes, &bytes, NULL) == CL_SUCCESS) {
    h.sum = kiln__cl_mix(KILN_CL_BASIS, bytes, size);
    kiln__cl_keep(base, ".bin", &h, sizeof h, bytes, size);
  }
  free(bytes);
}

// What the compiler said, kept beside the cache, and its first line.
static kiln_status refuse(kiln_context *ctx, cl_program program, const char *name, const char *base, cl_int code) {
  const kiln__cl *cl = ctx->cl;
  size_t size = 0;
  cl->api->clGetProgramBuildInfo(program, cl->device, CL_PROGRAM_BUILD_LOG, 0, NULL, &size);
  char *log = calloc(1, size + 1);
  if (log) cl->api->clGetProgramBuildInfo(program, cl->device, CL_PROGRAM_BUILD_LOG, size, log, NULL);
  if (log && base) kiln__cl_keep(base, ".log", NULL, 0, log, strlen(log));
  int first = log ? (int)strcspn(log, "\n") : 0;
  kiln_status status =
      kiln__fail(ctx, KILN_ERR_DEVICE, "%s cannot build the kernels of %s (%s): %.*s%s%s%s", cl->info.name, name,
                 kiln__cl_error(code), (int)kiln__min(first, 200), log ? log : "", base ? "; the log is in " : "",
                 base ? base : "", base ? ".log" : "");
  free(log);
  return status;
}

static kiln_status build(kiln_context *ctx, kiln__cl_program id, cl_program *out) {
  const kiln__cl *cl = ctx->cl;
  static const char *const types[] = {"", " -DBF16", " -DF16", " -DU8"};
  kiln__cl_program family = (kiln__cl_program)(id % KILN_CL_FAMILIES);
  const kiln__cl_source *source = &kiln__cl_sources[family];
  char options[OPTIONS], path[KILN_CL_FILE];
  const char *language = cl->has_subgroups && cl->group > 1 ? "CL3.0 -DSUBGROUPS" : "CL1.2";
  int length = snprintf(options, OPTIONS, "-cl-std=%s -DGROUP=%d%s", language, cl->group,
                        types[id / KILN_CL_FAMILIES]);
  if (family == KILN_CL_GEMM) kiln__cl_tile_options(cl->tile, options + length, OPTIONS - (size_t)length);
  const char *base = file_of(cl, source, options, path) ? path : NULL;
  cl_program program = base ? from_binary(cl, base, options) : NULL;
  if (!program) {
    const char *texts[] = {kiln__cl_common.text, source->text};
    size_t lengths[] = {kiln__cl_common.length, source->length};
    cl_int code;
    program = cl->api->clCreateProgramWithSource(cl->context, 2, texts, lengths, &code);
    if (code != CL_SUCCESS) return kiln__cl_fail(ctx, "clCreateProgramWithSource", code);
    code = cl->api->clBuildProgram(program, 1, &cl->device, options, NULL, NULL);
    if (code != CL_SUCCESS) {
      kiln_status status = refuse(ctx, program, source->name, base, code);
      cl->api->clReleaseProgram(program);
      return status;
    }
    if (base) keep_binary(cl, program, base);
  }
  *out = program;
  return KILN_OK;
}

kiln_status kiln__cl_kernel(kiln_context *ctx, kiln__cl_program program, const char *name, cl_kernel *out) {
  kiln__cl *cl = ctx->cl;
  for (int i = 0; i < cl->kernel_count; i++) {
    *out = cl->kernels[i].kernel;
    if (cl->kernels[i].name == name && cl->kernels[i].program == program) return KILN_OK;
  }
  if (!cl->programs[program]) KILN_TRY(build(ctx, program, &cl->programs[program]));
  if (cl->kernel_count == KILN_CL_KERNELS) return kiln__fail(ctx, KILN_ERR_DEVICE, "more kernels than there are");
  cl_int code;
  *out = cl->api->clCreateKernel(cl->programs[program], name, &code);
  if (code != CL_SUCCESS) return kiln__cl_fail(ctx, name, code);
  cl->kernels[cl->kernel_count].name = name;
  cl->kernels[cl->kernel_count].program = program;
  cl->kernels[cl->kernel_count++].kernel = *out;
  return KILN_OK;
}
