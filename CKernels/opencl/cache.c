#include "opencl/cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t kiln__cl_mix(uint64_t hash, const void *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
  return hash;
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

bool kiln__cl_file(const kiln__cl *cl, const char *what, uint64_t hash, char path[KILN_CL_FILE]) {
  const char *texts[] = {cl->info.name, cl->info.platform, cl->info.version, cl->info.driver};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) hash = kiln__cl_mix(hash, texts[i], strlen(texts[i]) + 1);
  if (!cl->cache[0]) return false;
  return snprintf(path, KILN_CL_FILE, "%s/%s-%016llx", cl->cache, what, (unsigned long long)hash) < KILN_CL_FILE - 32;
}

// Makes a folder and those above it. Errors show when a file in it cannot be written.
static void make_folder(char *path) {
  for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
    *at = 0;
    mkdir(path, 0777);
    *at = '/';
  }
}

bool kiln__cl_keep(const char *base, const char *suffix, const void *head, size_t head_size, const void *bytes,
                   size_t size) {
  char path[KILN_CL_FILE], partial[KILN_CL_FILE];
  snprintf(path, KILN_CL_FILE, "%s%s", base, suffix);
  snprintf(partial, KILN_CL_FILE, "%s.%ld", path, (long)getpid());
  make_folder(partial);
  FILE *file = fopen(partial, "wb");
  if (!file) return false;
  bool good = (!head || fwrite(head, head_size, 1, file) == 1) && fwrite(bytes, 1, size, file) == size;
  good = fclose(file) == 0 && good && rename(partial, path) == 0;
  if (!good) remove(partial);
  return good;
}
