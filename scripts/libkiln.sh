#!/usr/bin/env bash
# Builds libkiln.so into the folder given: the kernels for any language, exporting kiln_* and nothing else.
set -euo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/.."
"${CC:-clang}" ${CFLAGS:--O3} -std=gnu2x -fPIC -shared -DKILN_OPENMP -I include -I CKernels $(find CKernels -name '*.c') \
  -Wl,--version-script=scripts/kiln.map -Wl,-soname,libkiln.so -l:libomp5.so -lm -o "$out/libkiln.so"
