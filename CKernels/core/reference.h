// Compiles a file of plain loops for fp32 and fp64. Such a file reads
//   #ifndef REAL
//   #define KILN_REFERENCE "<family>/ref.c"
//   #include "core/reference.h"
//   #else
//   ... loops over REAL, with names like REF(fwd) ...
//   #endif
#include "core/internal.h"

#define REAL float
#define REF(name) name##_f32
#include KILN_REFERENCE
#undef REAL
#undef REF

#define REAL double
#define REF(name) name##_f64
#include KILN_REFERENCE
