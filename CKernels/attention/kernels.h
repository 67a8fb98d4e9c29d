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
  int64_t window;           // 0 for none
  const int32_t *offsets;   // [b, offsets_n], checked; NULL: all positions are one sequence
  int64_t offsets_n, offsets_b, offsets_t;  // their number and strides
  double scale;
  bool causal;
} kiln__attention_args;

// A run of positions: begin ..< end.
typedef struct kiln__span {
  int64_t begin, end;
} kiln__span;

typedef struct kiln__attention_kernels {
  int64_t query_block, key_block;  // queries that the forward, keys that the backward takes at once, at most
  // Bytes of scratch that one call of fwd or bwd needs, and bytes of `sums`.
  size_t (*scratch)(const kiln__attention_args *a, bool backward);
  size_t (*sums)(const kiln__attention_args *a);
  // o and lse of a span of at most query_block queries of head h.
  void (*fwd)(const kiln__attention_args *a, int64_t b, int64_t h, kiln__span queries, void *scratch);
  // The backward of key head hkv for its key blocks first, first + step, ...: their dk and dv, and into `sums`
  // (overwritten) what they add to dq of the group's query heads.
  void (*bwd)(const kiln__attention_args *a, int64_t b, int64_t hkv, int64_t first, int64_t step, void *sums,
              void *scratch);
  // dq of a span of queries of head h: the total of `parts` sums, `stride` bytes apart, of its key head.
  void (*dq)(const kiln__attention_args *a, int64_t b, int64_t h, kiln__span queries, const void *sums, int64_t parts,
             int64_t stride);
  // Whether these queries are so few that the forward goes along the keys by `query` and `merge` instead.
  bool (*few)(const kiln__attention_args *a);
  // Bytes of `sums`, or of scratch, that one call of `query` needs.
  size_t (*query_bytes)(const kiln__attention_args *a, int64_t heads, bool scratch);
  // What part `part` of the keys of all `heads` key heads adds to o of batch row b.
  void (*query)(const kiln__attention_args *a, int64_t heads, int64_t b, int64_t part, int64_t parts, void *sums,
                void *scratch);
  // o and lse of head h from the sums of all parts, `stride` bytes apart.
  void (*merge)(const kiln__attention_args *a, int64_t b, int64_t h, const void *sums, int64_t parts, int64_t stride);
} kiln__attention_kernels;

extern const kiln__attention_kernels kiln__attention_ref_f32, kiln__attention_ref_f64, kiln__attention_ref_bf16,
    kiln__attention_ref_f16;

// Address of element 0 of row (b, t, h), for a dtype of `size` bytes.
static inline void *kiln__heads_row(const kiln__heads *x, int64_t b, int64_t t, int64_t h, size_t size) {
  return (char *)x->data + (b * x->b + t * x->t + h * x->h) * (int64_t)size;
}

// The sequence of batch row b that holds position i; empty where none does.
static inline kiln__span kiln__sequence(const kiln__attention_args *a, int64_t b, int64_t i) {
  const int32_t *offsets = a->offsets + b * a->offsets_b;
  int64_t low = 0, high = a->offsets_n;  // the first offset beyond i is in low ... high
  while (low < high) {
    int64_t middle = (low + high) / 2;
    if (offsets[middle * a->offsets_t] <= i) low = middle + 1;
    else high = middle;
  }
  if (low == 0) return (kiln__span){0, 0};
  int64_t begin = offsets[(low - 1) * a->offsets_t];
  return (kiln__span){begin, low < a->offsets_n ? offsets[low * a->offsets_t] : begin};
}

// The keys that query i of batch row b sees. Neither end ever moves back as i grows.
static inline kiln__span kiln__visible(const kiln__attention_args *a, int64_t b, int64_t i) {
  int64_t own = i + a->tk - a->tq;  // the key at the query's place
  kiln__span keys = a->offsets ? kiln__sequence(a, b, i) : (kiln__span){0, a->tk};
  if (a->causal && own + 1 < keys.end) keys.end = own + 1;
  if (a->window > 0 && own + 1 - a->window > keys.begin) keys.begin = own + 1 - a->window;
  if (keys.end < keys.begin) keys.end = keys.begin;
  return keys;
}

#endif
