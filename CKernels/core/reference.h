// Compiles a file of plain loops for fp32, fp64, bf16 and f16. Such a file reads
//   #ifndef REAL
//   #define KILN_REFERENCE "<family>/ref.c"
//   #include "core/reference.h"
//   #else
//   ... loops with names like REF(fwd) ...
//   #endif
// ELEMENT is the type in memory of activations, their gradients and matrices: read with GET(x[i]), written as
// x[i] = PUT(v). REAL is the type of arithmetic, and in memory that of everything else: vectors of parameters (gains,
// biases) and all gradients of parameters, statistics, losses. They differ for bf16 and f16 alone, whose REAL
// is float.
#include "core/internal.h"
#include "simd/half.h"

#define ELEMENT float
#define REAL float
#define GET(x) (x)
#define PUT(x) (x)
#define REF(name) name##_f32
#include KILN_REFERENCE
#undef ELEMENT
#undef REAL
#undef REF

#define ELEMENT double
#define REAL double
#define REF(name) name##_f64
#include KILN_REFERENCE
#undef ELEMENT
#undef REAL
#undef GET
#undef PUT
#undef REF

#define ELEMENT kiln__bf16
#define REAL float
#define GET(x) kiln__get_bf16(x)
#define PUT(x) kiln__put_bf16(x)
#define REF(name) name##_bf16
#include KILN_REFERENCE
#undef ELEMENT
#undef REAL
#undef GET
#undef PUT
#undef REF

#define ELEMENT kiln__f16
#define REAL float
#define GET(x) kiln__get_f16(x)
#define PUT(x) kiln__put_f16(x)
#define REF(name) name##_f16
#include KILN_REFERENCE
