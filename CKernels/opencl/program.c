// Programs: built from their sources when they are first asked for, and kept on disk as binaries.
#include "opencl/sources.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH = KILN_CL_PATH + 128, OPTIONS = 256 };

// Of a file of the cache, which is followed by the binary.
typedef struct header {
  char magic[8];
  uint64_t size, sum;
} header;

static const char magic[8] = "kilncl1";

// FNV-1a.
static uint64_t mix(uint64_t hash, const void *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
  return hash;
}

static const uint64_t basis = 14695981039346656037u;

// Makes a folder and those above it. Errors show when a file in it cannot be written.
static void make_folder(char *path) {
  for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
    *at = 0;
    mkdir(path, 0777);
    *at = '/';
  }
}

// A file of the cache, without its suffix: what it is for, and a number of all that its content depends on, the device
// included. False where no folder is known.
static bool file_for(const kiln__cl *cl, const char *what, uint64_t hash, char path[PATH]) {
  const char *texts[] = {cl->info.name, cl->info.platform, cl->info.version, cl->info.driver};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) hash = mix(hash, texts[i], strlen(texts[i]) + 1);
  if (!cl->cache[0]) return false;
  return snprintf(path, PATH, "%s/%s-%016llx", cl->cache, what, (unsigned long long)hash) < PATH - 32;
}

// That of a program.
static bool file_of(const kiln__cl *cl, const kiln__cl_source *source, const char *options, char path[PATH]) {
  uint64_t hash = mix(basis, kiln__cl_common.text, kiln__cl_common.length);
  hash = mix(hash, source->text, source->length);
  return file_for(cl, source->name, mix(hash, options, strlen(options) + 1), path);
}

void kiln__cl_choose_cache(char folder[KILN_CL_PATH], const char *given) {
  // Where tokenised text is kept, too.
  static const char *const variables[] = {"KILN_CACHE", "XDG_CACHE_HOME", "HOME"};
  static const char *const below[] = {"/opencl", "/kiln/opencl", "/.cache/kiln/opencl"};
  const char *parent = given, *rest = "";
  for (int i = 0; i < 3 && !(parent && *parent); i++) {
    parent = getenv(variables[i]);
    rest = below[i];
  }
  if (!parent || snprintf(folder, KILN_CL_PATH, "%s%s", parent, rest) >= KILN_CL_PATH) folder[0] = 0;
}

// Writes a file whole or not at all; whether it could.
static bool keep(const char *base, const char *suffix, const header *h, const void *bytes, size_t size) {
  char path[PATH], partial[PATH];
  snprintf(path, PATH, "%s%s", base, suffix);
  snprintf(partial, PATH, "%s.%ld", path, (long)getpid());
  make_folder(partial);
  FILE *file = fopen(partial, "wb");
  if (!file) return false;
  bool good = (!h || fwrite(h, sizeof *h, 1, file) == 1) && fwrite(bytes, 1, size, file) == size;
  good = fclose(file) == 0 && good;
  good = good && rename(partial, path) == 0;
  if (!good) remove(partial);
  return good;
}

// The binary of a file; NULL where there is none, or not an intact one.
static unsigned char *recall(const char *base, size_t *size) {
  char path[PATH];
  snprintf(path, PATH, "%s.bin", base);
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  header h;
  struct stat status;
  unsigned char *bytes = NULL;
  bool good = fread(&h, sizeof h, 1, file) == 1 && memcmp(h.magic, magic, sizeof magic) == 0 &&
              fstat(fileno(file), &status) == 0 && (uint64_t)status.st_size == sizeof h + h.size;
  if (good) bytes = malloc(h.size);
  good = bytes && fread(bytes, 1, h.size, file) == h.size && mix(basis, bytes, h.size) == h.sum;
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
    h.sum = mix(basis, bytes, size);
    keep(base, ".bin", &h, bytes, size);
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
  if (log && base) keep(base, ".log", NULL, log, strlen(log));
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
  const kiln__cl_source *source = &kiln__cl_sources[id];
  char options[OPTIONS], path[PATH];
  int length = snprintf(options, OPTIONS, "-cl-std=CL1.2 -DGROUP=%d", cl->group);
  if (id == KILN_CL_GEMM) kiln__cl_tile_options(cl->tile, options + length, OPTIONS - (size_t)length);
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
    if (cl->kernels[i].name == name) return KILN_OK;
  }
  if (!cl->programs[program]) KILN_TRY(build(ctx, program, &cl->programs[program]));
  if (cl->kernel_count == KILN_CL_KERNELS) return kiln__fail(ctx, KILN_ERR_DEVICE, "more kernels than there are");
  cl_int code;
  *out = cl->api->clCreateKernel(cl->programs[program], name, &code);
  if (code != CL_SUCCESS) return kiln__cl_fail(ctx, name, code);
  cl->kernels[cl->kernel_count].name = name;
  cl->kernels[cl->kernel_count++].kernel = *out;
  return KILN_OK;
}

static const char tile_suffix[] = ".txt";

const kiln__cl_tile *kiln__cl_kept_tile(const kiln__cl *cl) {
  char path[PATH], name[32] = "";
  if (!file_for(cl, "tile", basis, path)) return NULL;
  strcat(path, tile_suffix);
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  size_t length = fread(name, 1, sizeof name - 1, file);
  fclose(file);
  name[length] = 0;
  return kiln__cl_tile_named(name);
}

kiln_status kiln_device_keep_tile(kiln_context *ctx) {
  KILN_TRY(kiln__cl_begin(ctx, "device_keep_tile"));
  const char *name = ctx->cl->tile->name;
  char path[PATH];
  if (file_for(ctx->cl, "tile", basis, path) && keep(path, tile_suffix, NULL, name, strlen(name))) return KILN_OK;
  return kiln__fail(ctx, KILN_ERR_DEVICE, "nothing can be kept in '%s': set KILN_CACHE to a folder that can be written",
                    ctx->cl->cache);
}

const char *kiln_context_tile(const kiln_context *ctx) { return ctx && ctx->cl ? ctx->cl->tile->name : ""; }

const char *kiln_opencl_tile(int32_t index) {
  const kiln__cl_tile *tile = kiln__cl_tile_at(index);
  return tile ? tile->name : NULL;
}
