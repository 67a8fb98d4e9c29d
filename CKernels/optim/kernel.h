// Optimizer updates in vectors: one loop, made for each rule, around one codec of states. Memory is read and written
// once, which is what an update costs.
#include "optim/rules_kernel.h"
#include "optim/state_kernel.h"

// Processors that fetch ahead by themselves stop at the end of a page, where four streams at once would wait.
VEC void optim_fetch(const float *p) { __builtin_prefetch((const char *)p + 512, 0, 3); }

// The arguments are copied, so that the compiler knows that no store changes them and keeps the scalars in registers.
VEC void optim_block(kiln__rule rule, const kiln__update *update, const float *w, const float *g, float *out,
                     float *const state[2], int64_t count, double sums[2]) {
  const kiln__update u = *update;
  const kiln__rule_traits traits = kiln__traits(rule);
  vf sum[2] = {vf_set(0), vf_set(0)};
  for (int64_t i = 0; i < count; i += KILN_VL) {
    int64_t n = count - i;
    vf s[2];
    optim_fetch(w + i);
    vf p = vf_read(w + i, n), d = vf_set(0);
    if (g) {
      optim_fetch(g + i);
      d = vf_fma(p, vf_set((float)u.l2), vf_read(g + i, n) * (float)u.grad_scale);
    }
    for (int k = 0; k < traits.states; k++) {
      optim_fetch(state[k] + i);
      s[k] = vf_read(state[k] + i, n);
    }
    vf result = optim_rule(rule, &u, p, d, s, sum);
    for (int k = 0; k < traits.states && traits.keeps; k++) vf_write(state[k] + i, s[k], n);
    if (traits.out) vf_write(out + i, result, n);
  }
  for (int k = 0; k < 2 && traits.sums; k++) sums[k] += vf_sum(sum[k]);
}

VEC void optim_update(kiln__rule rule, const kiln__update *u, int64_t begin, int64_t end, double sums[2]) {
  const kiln__rule_traits traits = kiln__traits(rule);
  float buffer[3][KILN_QUANT_BLOCK], *state[2] = {NULL, NULL};
  for (int64_t at = begin; at < end; at += KILN_QUANT_BLOCK) {
    int64_t count = kiln__min(KILN_QUANT_BLOCK, end - at);
    for (int k = 0; k < traits.states; k++) state[k] = state_open(&u->state[k], buffer[k], at, count);
    float *w = state_open(&u->w, buffer[2], at, count), *out = u->out ? (float *)u->out + at : w;
    optim_block(rule, u, w, u->g ? (const float *)u->g + at : NULL, out, state, count, sums);
    for (int k = 0; k < traits.states && traits.keeps; k++) state_close(&u->state[k], state[k], at, count);
    if (traits.out && !u->out) state_close(&u->w, w, at, count);
  }
}

#define UPDATE(NAME, ...)                                                                                    \
  static void optim_##NAME(const kiln__update *u, int64_t begin, int64_t end, double sums[2]) {              \
    optim_update(KILN_RULE_##NAME, u, begin, end, sums);                                                     \
  }
KILN_EACH_RULE(UPDATE)
#undef UPDATE

VEC double optim_row_squares(const float *x, int64_t cols) {
  double total = 0;
  for (int64_t from = 0; from < cols; from += 4096) {
    vf sum = vf_set(0);
    int64_t to = kiln__min(from + 4096, cols);
    for (int64_t i = from; i < to; i += KILN_VL) {
      vf v = vf_read(x + i, to - i);
      sum = vf_fma(v, v, sum);
    }
    total += vf_sum(sum);
  }
  return total;
}

static void optim_shrink_rows(void *w, int64_t rows, int64_t cols, double threshold) {
  for (float *row = w, *end = row + rows * cols; row < end; row += cols) {
    double norm = sqrt(optim_row_squares(row, cols));
    vf keep = vf_set(norm > threshold ? (float)(1 - threshold / norm) : norm <= threshold ? 0 : (float)norm);
    for (int64_t i = 0; i < cols; i += KILN_VL) vf_write(row + i, vf_read(row + i, cols - i) * keep, cols - i);
  }
}

static void optim_square_sums(const void *g, int64_t rows, int64_t cols, double scale, void *row_sums,
                              void *column_sums) {
  float *row_sum = row_sums, *column_sum = column_sums;
  vf factor = vf_set((float)scale);
  for (int64_t r = 0; r < rows; r++) {
    const float *row = (const float *)g + r * cols;
    vf sum = vf_set(0);
    for (int64_t i = 0; i < cols; i += KILN_VL) {
      vf d = vf_read(row + i, cols - i) * factor, square = d * d;
      sum = sum + square;
      vf_write(column_sum + i, vf_read(column_sum + i, cols - i) + square, cols - i);
    }
    row_sum[r] = vf_sum(sum);
  }
}

#define UPDATE(NAME, ...) optim_##NAME,
static const kiln__optim_kernels optim_kernels = {
    {KILN_EACH_RULE(UPDATE)}, optim_shrink_rows, optim_square_sums};
#undef UPDATE
