// Products by vf_fma: a packed unit is one element, widened to fp32. All units have that size; how many steps of k are
// in one, and zeros fill k up to a multiple of which, and how many units of another kind each row ends with; how one is
// read, of which k steps are there, and four of them in a row, in memory of stride 1; the multiply-add of two vectors of
// units, and how many of its steps are unrolled; what the sums of row i of a strip of a start from; what of them is fp32;
// and the sum of a unit over its steps added up. GEMM names the functions that are made for each kind of unit.
#define GEMM(name) name
#define GEMM_UNIT 1
#define GEMM_STEPS 1
#define GEMM_TAIL 0
#define GEMM_READ(x, along, k) ((void)(along), (void)(k), get(x))
#define GEMM_READ4(x) v4_load(x)
#define GEMM_MADD(a, b, sum) vf_fma(a, b, sum)
#define GEMM_UNROLL_STEPS _Pragma("clang loop unroll_count(4)")
#define GEMM_START(a, units, i) vf_set(0)
#define GEMM_TOTAL(sum) (sum)
#define GEMM_ADD(x, sum) ((sum) + (x))

#include "gemm/finish_kernel.h"
#include "gemm/tile_kernel.h"
#include "gemm/part_kernel.h"
#include "gemm/sum_rows_kernel.h"
#include "gemm/sum_kernel.h"
