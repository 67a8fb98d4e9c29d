// The plain loops, for fp32 and fp64.
#ifndef REAL
#define KILN_REFERENCE "optim/ref.c"
#include "core/reference.h"
#else

static REAL REF(clamp)(REAL x, REAL low, REAL high) { return x < low ? low : x > high ? high : x; }

// The proximal operator of l1 |p| on [low, high].
static REAL REF(prox)(const kiln__update *u, REAL p) {
  REAL soft = p - REF(clamp)(p, (REAL)-u->l1, (REAL)u->l1);
  return REF(clamp)(soft, (REAL)u->low, (REAL)u->high);
}

static REAL REF(average)(const kiln__update *u, int which, REAL old, REAL x) {
  return (REAL)u->keep[which] * old + (REAL)u->take[which] * x;
}

static REAL REF(root)(const kiln__update *u, REAL v) {
  return (REAL)sqrt(v) * (REAL)u->root_scale + (REAL)u->eps;
}

static REAL REF(lamb_direction)(const kiln__update *u, REAL p, REAL m, REAL v) {
  return m * (REAL)u->mean_scale / REF(root)(u, v) + (REAL)u->weight_decay * p;
}

static REAL REF(normalized)(REAL d, REAL v) {
  REAL root = (REAL)sqrt(v);
  return d / (root < FLT_MIN ? (REAL)FLT_MIN : root);
}

static void REF(add_squares)(double sums[2], REAL p, REAL direction) {
  sums[0] += (double)p * p;
  sums[1] += (double)direction * direction;
}

// What the rule gives for a weight p, its gradient d and its states s.
static REAL REF(rule)(kiln__rule rule, const kiln__update *u, REAL p, REAL d, REAL s[2], double sums[2]) {
  REAL lr = (REAL)u->lr, decay = (REAL)u->decay;
  switch (rule) {
    case KILN_RULE_DESCENT: return REF(prox)(u, decay * p - lr * d);
    case KILN_RULE_MOMENTUM:
      s[0] = (REAL)u->keep[0] * s[0] + d;
      d = u->nesterov ? d + (REAL)u->keep[0] * s[0] : s[0];
      return REF(prox)(u, p - lr * d);
    case KILN_RULE_HEAVY_BALL:
      s[0] = (REAL)u->keep[0] * s[0] - lr * d;
      return REF(prox)(u, p + s[0]);
    case KILN_RULE_LION: {
      REAL direction = REF(average)(u, 0, s[0], d);
      s[0] = REF(average)(u, 1, s[0], d);
      return decay * p - lr * (direction > 0 ? 1 : direction < 0 ? -1 : direction);
    }
    case KILN_RULE_ADAM:
      s[0] = REF(average)(u, 0, s[0], d);
      s[1] = REF(average)(u, 1, s[1], d * d);
      return decay * p - lr * (s[0] / REF(root)(u, s[1]));
    case KILN_RULE_SCHEDULE_FREE: {
      s[0] = REF(average)(u, 1, s[0], d * d);
      REAL z = u->first ? p : s[1], direction = d / REF(root)(u, s[0]) + (REAL)u->weight_decay * p;
      s[1] = z - lr * direction;
      return p + (REAL)u->blend * (z - p) + (REAL)u->pull * direction;
    }
    case KILN_RULE_AVERAGE: return p + (REAL)u->blend * (s[0] - p);
    case KILN_RULE_EXTRAPOLATE: {
      REAL last = s[0];
      s[0] = p;
      return p + (REAL)u->blend * (p - last);
    }
    case KILN_RULE_NORMS: REF(add_squares)(sums, p, d); return p;
    case KILN_RULE_LAMB_MOMENTS:
      s[0] = REF(average)(u, 0, s[0], d);
      s[1] = REF(average)(u, 1, s[1], d * d);
      REF(add_squares)(sums, p, REF(lamb_direction)(u, p, s[0], s[1]));
      return p;
    case KILN_RULE_LAMB_APPLY: return p - lr * REF(lamb_direction)(u, p, s[0], s[1]);
    case KILN_RULE_SECOND_MOMENT: s[0] = REF(average)(u, 1, s[0], d * d + (REAL)u->eps); return p;
    case KILN_RULE_NORMALIZED_SUMS: REF(add_squares)(sums, p, REF(normalized)(d, s[0])); return p;
    case KILN_RULE_NORMALIZED_APPLY: return decay * p - lr * REF(normalized)(d, s[0]);
    case KILN_RULE_MUON_DIRECTION:
      s[0] = REF(average)(u, 0, s[0], d);
      return u->nesterov ? REF(average)(u, 0, s[0], d) : s[0];
    case KILN_RULES: break;
  }
  return p;
}

// The block of a state, or of the weight, as REAL.
static void REF(open)(REAL *to, const kiln__state *s, int64_t begin, int64_t n) {
  float values[KILN_QUANT_BLOCK];
  if (s->codec == KILN_CODEC_8BIT) {
    kiln__quant_ref_f32.from_dynamic(values, (uint8_t *)s->values + begin, s->scales[begin / KILN_QUANT_BLOCK], s->map,
                                     n);
  }
  for (int64_t i = 0; i < n; i++) {
    int64_t at = begin + i;
    switch (s->codec) {
      case KILN_CODEC_PLAIN: to[i] = ((const REAL *)s->values)[at]; break;
      case KILN_CODEC_BF16:
      case KILN_CODEC_STOCHASTIC: to[i] = kiln__get_bf16(((const kiln__bf16 *)s->values)[at]); break;
      case KILN_CODEC_SPLIT:
        to[i] = kiln__get_bf16(((const kiln__bf16 *)s->values)[at]);
        to[i] += kiln__get_bf16(((const kiln__bf16 *)s->remainder)[at]);
        break;
      case KILN_CODEC_8BIT: to[i] = values[i];
    }
  }
}

static uint16_t REF(stochastic)(float x, const kiln__state *s, int64_t at) {
  if (!isfinite(x)) return kiln__bf16_from_f32(x);
  uint32_t buffer[KILN_RANDOM_BUFFER(1)], word = *kiln__random_words(buffer, s->random, at, 1);
  return (uint16_t)((kiln__bits_from_f32(x) + (word >> s->half & 0xffff)) >> 16);
}

static void REF(close)(const kiln__state *s, const REAL *from, int64_t begin, int64_t n) {
  float values[KILN_QUANT_BLOCK];
  for (int64_t i = 0; i < n; i++) {
    int64_t at = begin + i;
    values[i] = (float)from[i];
    switch (s->codec) {
      case KILN_CODEC_PLAIN: ((REAL *)s->values)[at] = from[i]; break;
      case KILN_CODEC_BF16: ((kiln__bf16 *)s->values)[at] = kiln__put_bf16(values[i]); break;
      case KILN_CODEC_STOCHASTIC: ((kiln__bf16 *)s->values)[at].bits = REF(stochastic)(values[i], s, at); break;
      case KILN_CODEC_SPLIT: {
        kiln__bf16 *kept = (kiln__bf16 *)s->values + at, *remainder = (kiln__bf16 *)s->remainder + at;
        *kept = kiln__put_bf16(values[i]);
        *remainder = kiln__put_bf16(values[i] - kiln__get_bf16(*kept));
        break;
      }
      case KILN_CODEC_8BIT: break;
    }
  }
  if (s->codec == KILN_CODEC_8BIT) {
    kiln__quant_ref_f32.to_dynamic((uint8_t *)s->values + begin, s->scales + begin / KILN_QUANT_BLOCK, values, s->map,
                                   n);
  }
}

static void REF(update)(kiln__rule rule, const kiln__update *u, int64_t begin, int64_t end, double sums[2]) {
  const kiln__rule_traits traits = kiln__traits(rule);
  const REAL *g = u->g;
  REAL *out = u->out, state[2][KILN_QUANT_BLOCK], w[KILN_QUANT_BLOCK];
  for (int64_t at = begin; at < end; at += KILN_QUANT_BLOCK) {
    int64_t count = kiln__min(KILN_QUANT_BLOCK, end - at);
    for (int k = 0; k < traits.states; k++) REF(open)(state[k], &u->state[k], at, count);
    REF(open)(w, &u->w, at, count);
    for (int64_t i = 0; i < count; i++) {
      REAL p = w[i], d = g ? (REAL)u->grad_scale * g[at + i] + (REAL)u->l2 * p : 0;
      REAL s[2] = {state[0][i], state[1][i]}, result = REF(rule)(rule, u, p, d, s, sums);
      for (int k = 0; k < traits.states; k++) state[k][i] = s[k];
      if (traits.out) *(out ? &out[at + i] : &w[i]) = result;
    }
    for (int k = 0; k < traits.states && traits.keeps; k++) REF(close)(&u->state[k], state[k], at, count);
    if (traits.out && !out) REF(close)(&u->w, w, at, count);
  }
}

#define UPDATE(NAME, ...)                                                                               \
  static void REF(NAME)(const kiln__update *u, int64_t begin, int64_t end, double sums[2]) {            \
    REF(update)(KILN_RULE_##NAME, u, begin, end, sums);                                                 \
  }
KILN_EACH_RULE(UPDATE)
#undef UPDATE

static void REF(shrink_rows)(void *w, int64_t rows, int64_t cols, double threshold) {
  for (REAL *row = w, *end = row + rows * cols; row < end; row += cols) {
    double norm = 0;
    for (int64_t i = 0; i < cols; i++) norm += (double)row[i] * row[i];
    norm = sqrt(norm);
    double keep = norm > threshold ? 1 - threshold / norm : norm <= threshold ? 0 : norm;
    for (int64_t i = 0; i < cols; i++) row[i] *= (REAL)keep;
  }
}

static void REF(square_sums)(const void *g, int64_t rows, int64_t cols, double scale, void *row_sums,
                             void *column_sums) {
  REAL *row_sum = row_sums, *column_sum = column_sums;
  for (int64_t r = 0; r < rows; r++) {
    row_sum[r] = 0;
    for (int64_t i = 0; i < cols; i++) {
      REAL d = ((const REAL *)g)[r * cols + i] * (REAL)scale;
      row_sum[r] += d * d;
      column_sum[i] += d * d;
    }
  }
}

#define UPDATE(NAME, ...) REF(NAME),
const kiln__optim_kernels REF(kiln__optim_ref) = {
    {KILN_EACH_RULE(UPDATE)}, REF(shrink_rows), REF(square_sums)};
#undef UPDATE
#endif
