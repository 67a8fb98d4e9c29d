// Attention: what the kernels take.
#ifndef KILN_ATTENTION_KERNELS_H
#define KILN_ATTENTION_KERNELS_H

#include <kiln.h>

// A tensor [b, t, h, d] of the column's dtype (or lse, without d, wide: see kiln__wide): element 0 and the strides of
// its dimensions.
typedef struct kiln__heads {
  void *data;
  int64_t b, t, h;
} kiln__heads;

typedef struct kiln__attention_args {
  kiln__heads o, lse;       // forward: the results; backward: read. lse.data may be NULL in the forward
  kiln__heads q, k, v;
  kiln__heads d_o, dq, dk, dv;
  int64_t tq, tk, d, group; // group: query heads to a key head
  double scale;
  bool causal;
} kiln__attention_args;

// Where a part of the backward puts what it adds to dk and dv: rows of d wide elements, `ldk` and `ldv` apart.
typedef struct kiln__attention_target {
  void *dk, *dv;
  int64_t ldk, ldv;
} kiln__attention_target;

typedef struct kiln__attention_kernels {
  int64_t block;  // queries taken at once
  // Bytes of scratch that one call needs.
  size_t (*scratch)(const kiln__attention_args *a);
  // o and lse of query block `block` of head h.
  void (*fwd)(const kiln__attention_args *a, int64_t b, int64_t h, int64_t block, void *scratch);
  // The backward of key head hkv for items first, first + step, ...: item n is query block n % blocks of the group's
  // query head n / blocks. Writes these blocks of dq, and their sum (in this order) over all of the target.
  void (*bwd)(const kiln__attention_args *a, int64_t b, int64_t hkv, int64_t first, int64_t step,
              const kiln__attention_target *target, void *scratch);
  // to += from: n rows of d wide elements.
  void (*add)(void *to, int64_t ldto, const void *from, int64_t ldfrom, int64_t n, int64_t d);
  // to = from: n rows of d elements from wide ones.
  void (*store)(void *to, int64_t ldto, const void *from, int64_t ldfrom, int64_t n, int64_t d);
} kiln__attention_kernels;

extern const kiln__attention_kernels kiln__attention_ref_f32, kiln__attention_ref_f64, kiln__attention_ref_bf16;

// Address of element 0 of row (b, t, h), for a dtype of `size` bytes.
static inline void *kiln__heads_row(const kiln__heads *x, int64_t b, int64_t t, int64_t h, size_t size) {
  return (char *)x->data + (b * x->b + t * x->t + h * x->h) * (int64_t)size;
}

// How many keys, from the first, the query i sees: negative or 0 where it sees none.
static inline int64_t kiln__visible_keys(const kiln__attention_args *a, int64_t i) {
  return a->causal ? i + a->tk - a->tq + 1 : a->tk;
}

#endif
