// Before every program: how arguments arrive, sums over a work group, activations.
//
// GROUP work items share a row: 1 on CPUs, where an item has vectors of its own.

#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#pragma OPENCL FP_CONTRACT ON

// A buffer and a place in it, in bytes; AT is the address, 0 for none.
#define MEMORY(T, x) __global T *x##_memory, ulong x##_at
#define AT(T, x) ((__global T *)((__global char *)x##_memory + x##_at))

// How up to 6 views of one shape lie: `rank` dimensions, the last one first to run.
typedef struct {
  long count, rank;
  long shape[7], strides[6][7];
} layout;

// Where element i, counted by rows, lies in a view.
static inline long place(const layout *l, int view, long i) {
  long at = 0;
  for (int d = (int)l->rank - 1; d > 0; d--) {
    at += i % l->shape[d] * l->strides[view][d];
    i /= l->shape[d];
  }
  return at + i * l->strides[view][0];
}

// group_sum and group_max: over a work group, for each of its items.
#define SUM(a, b) ((a) + (b))
#if GROUP > 1
#define REDUCTION(name, PAIR)                                                                              \
  static inline float name(float x, __local float *shared) {                                               \
    const int item = get_local_id(0);                                                                      \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                          \
    shared[item] = x;                                                                                      \
    for (int half_of = GROUP / 2; half_of > 0; half_of /= 2) {                                             \
      barrier(CLK_LOCAL_MEM_FENCE);                                                                        \
      if (item < half_of) shared[item] = PAIR(shared[item], shared[item + half_of]);                       \
    }                                                                                                      \
    barrier(CLK_LOCAL_MEM_FENCE);                                                                          \
    return shared[0];                                                                                      \
  }
#else
#define REDUCTION(name, PAIR) \
  static inline float name(float x, __local float *shared) { return x; }
#endif
REDUCTION(group_sum, SUM)
REDUCTION(group_max, max)

static inline float sum_of(float8 v) {
  const float4 a = v.lo + v.hi;
  return a.x + a.y + (a.z + a.w);
}

// kiln_activation.
enum { NONE, RELU, GELU_TANH, GELU_ERF, SILU };

// Far below 0 every activation is 0, where the formulas give -infinity * 0; far above it is x.
#define FAR 1e4f

#define ACTIVATIONS(T)                                                                        \
  static inline T __attribute__((overloadable)) act_value(int kind, T x) {                    \
    const T near = max(x, (T)(-FAR));                                                         \
    switch (kind) {                                                                           \
      case RELU: return x < 0.0f ? (T)(0.0f) : x;                                             \
      case GELU_TANH:                                                                         \
        return near / (1.0f + exp(-1.59576912f * (near + 0.044715f * near * near * near)));   \
      case GELU_ERF: return near / 2.0f * (1.0f + erf(near * 0.70710678f));                   \
      case SILU: return near / (1.0f + exp(-near));                                           \
      default: return x;                                                                      \
    }                                                                                         \
  }                                                                                           \
  static inline T __attribute__((overloadable)) act_slope(int kind, T x) {                    \
    const T near = clamp(x, (T)(-FAR), (T)(FAR));                                             \
    switch (kind) {                                                                           \
      case RELU: return x > 0.0f ? (T)(1.0f) : x <= 0.0f ? (T)(0.0f) : x;                     \
      case GELU_TANH: {                                                                       \
        const T t = tanh(0.79788456f * (near + 0.044715f * near * near * near));              \
        return (1.0f + t) / 2.0f                                                              \
               + near / 2.0f * (1.0f - t * t) * 0.79788456f * (1.0f + 0.134145f * near * near); \
      }                                                                                       \
      case GELU_ERF:                                                                          \
        return (1.0f + erf(near * 0.70710678f)) / 2.0f + near * 0.39894228f * exp(-near * near / 2.0f); \
      case SILU: {                                                                            \
        const T s = 1.0f / (1.0f + exp(-near));                                               \
        return s + near * s * (1.0f - s);                                                     \
      }                                                                                       \
      default: return (T)(1.0f);                                                              \
    }                                                                                         \
  }
ACTIVATIONS(float)
ACTIVATIONS(float8)
