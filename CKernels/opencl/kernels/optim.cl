// Optimizer updates: the rules of optim/ref.c, each a kernel of its own so that its branches are gone.

enum {
  DESCENT, MOMENTUM, HEAVY_BALL, LION, ADAM, SCHEDULE_FREE, AVERAGE, EXTRAPOLATE, NORMS, LAMB_MOMENTS, LAMB_APPLY,
  SECOND_MOMENT, NORMALIZED_SUMS, NORMALIZED_APPLY, MUON_DIRECTION
};

typedef struct {
  float grad_scale, l2, decay, lr;
  float keep[2], take[2];
  float mean_scale, root_scale, eps, weight_decay, blend, pull, l1, low, high;
  int nesterov, first;
} update;

static inline float8 prox(const update *u, float8 p) {
  return clamp(p - clamp(p, -u->l1, u->l1), u->low, u->high);
}

static inline float8 average(const update *u, int which, float8 old, float8 x) {
  return u->keep[which] * old + u->take[which] * x;
}

static inline float8 root(const update *u, float8 v) { return sqrt(v) * u->root_scale + u->eps; }

static inline float8 lamb_direction(const update *u, float8 p, float8 m, float8 v) {
  return m * u->mean_scale / root(u, v) + u->weight_decay * p;
}

static inline float8 normalized(float8 d, float8 v) { return d / max(sqrt(v), FLT_MIN); }

static inline void add_squares(double2 *sums, float8 x, float8 y) {
  *sums += (double2)(sum_of_4(squares_of(x)), sum_of_4(squares_of(y)));
}

// What a rule gives for weights p, their gradients d and states; `squares` are the two sums.
static inline float8 apply(
    const int rule, const update *u, float8 p, float8 d, float8 *s0, float8 *s1, double2 *squares) {
  switch (rule) {
    case DESCENT: return prox(u, u->decay * p - u->lr * d);
    case MOMENTUM:
      *s0 = u->keep[0] * *s0 + d;
      return prox(u, p - u->lr * (u->nesterov ? d + u->keep[0] * *s0 : *s0));
    case HEAVY_BALL:
      *s0 = u->keep[0] * *s0 - u->lr * d;
      return prox(u, p + *s0);
    case LION: {
      const float8 direction = average(u, 0, *s0, d);
      *s0 = average(u, 1, *s0, d);
      const float8 down = select(direction, (float8)(-1), direction < 0);
      return u->decay * p - u->lr * select(down, (float8)(1), direction > 0);
    }
    case ADAM:
      *s0 = average(u, 0, *s0, d);
      *s1 = average(u, 1, *s1, d * d);
      return u->decay * p - u->lr * (*s0 / root(u, *s1));
    case SCHEDULE_FREE: {
      *s0 = average(u, 1, *s0, d * d);
      const float8 z = u->first ? p : *s1, direction = d / root(u, *s0) + u->weight_decay * p;
      *s1 = z - u->lr * direction;
      return p + u->blend * (z - p) + u->pull * direction;
    }
    case AVERAGE: return p + u->blend * (*s0 - p);
    case EXTRAPOLATE: {
      const float8 last = *s0;
      *s0 = p;
      return p + u->blend * (p - last);
    }
    case NORMS: add_squares(squares, p, d); return p;
    case LAMB_MOMENTS:
      *s0 = average(u, 0, *s0, d);
      *s1 = average(u, 1, *s1, d * d);
      add_squares(squares, p, lamb_direction(u, p, *s0, *s1));
      return p;
    case LAMB_APPLY: return p - u->lr * lamb_direction(u, p, *s0, *s1);
    case SECOND_MOMENT: *s0 = average(u, 1, *s0, d * d + u->eps); return p;
    case NORMALIZED_SUMS: add_squares(squares, p, normalized(d, *s0)); return p;
    case NORMALIZED_APPLY: return u->decay * p - u->lr * normalized(d, *s0);
    default:
      *s0 = average(u, 0, *s0, d);
      return u->nesterov ? average(u, 0, *s0, d) : *s0;
  }
}

#ifdef U8
// States in 8 bits. An item has a block, so that its largest magnitude is known before a code is written.

#define RULE_8BIT(NAME, STATES)                                                                                     \
  __kernel void update8_##NAME(                                                                                     \
      MEMORY(float, w), MEMORY(float, g), MEMORY(float, out), MEMORY(uchar, m), MEMORY(uchar, v),                   \
      MEMORY(float, m_scales), MEMORY(float, v_scales), MEMORY(dynamic_map, m_map), MEMORY(dynamic_map, v_map),     \
      const long count, const update u) {                                                                           \
    const long block = get_global_id(0), begin = block * BLOCK;                                                     \
    const int n = min((long)BLOCK, count - begin);                                                                  \
    if (n <= 0) return;                                                                                             \
    float s0[BLOCK], s1[BLOCK];                                                                                     \
    double2 squares = 0;                                                                                            \
    decode(s0, AT(uchar, m) + begin, AT(float, m_scales)[block], AT(dynamic_map, m_map), n);                        \
    if (STATES > 1) decode(s1, AT(uchar, v) + begin, AT(float, v_scales)[block], AT(dynamic_map, v_map), n);      \
    for (int i = 0; i < n; i += 8) {                                                                                \
      const float8 p = get8_of(AT(float, w) + begin + i, n - i, 0);                                                 \
      const float8 d = u.grad_scale * get8_of(AT(float, g) + begin + i, n - i, 0) + u.l2 * p;                       \
      float8 m8 = vload8(0, s0 + i), v8 = STATES > 1 ? vload8(0, s1 + i) : (float8)(0);                             \
      const float8 result = apply(NAME, &u, p, d, &m8, &v8, &squares);                                              \
      vstore8(m8, 0, s0 + i);                                                                                       \
      if (STATES > 1) vstore8(v8, 0, s1 + i);                                                                       \
      put8_of(result, (out_memory ? AT(float, out) : AT(float, w)) + begin + i, n - i);                             \
    }                                                                                                               \
    encode(AT(uchar, m) + begin, AT(float, m_scales) + block, s0, AT(dynamic_map, m_map), n);                       \
    if (STATES > 1) encode(AT(uchar, v) + begin, AT(float, v_scales) + block, s1, AT(dynamic_map, v_map), n);     \
  }
RULE_8BIT(MOMENTUM, 1)
RULE_8BIT(HEAVY_BALL, 1)
RULE_8BIT(LION, 1)
RULE_8BIT(ADAM, 2)
RULE_8BIT(MUON_DIRECTION, 1)

#else

#define ARGUMENTS                                                                                                    \
  MEMORY(float, w), MEMORY(float, g), MEMORY(float, out), MEMORY(float, m), MEMORY(float, v), MEMORY(double2, sums), \
      const long count, const long stretch, const update u

// An item has `stretch` elements, 8 at a time, and two sums over them. STATES, WRITES, KEEPS and SUMS are as in
// KILN_EACH_RULE.
#define RULE(NAME, STATES, WRITES, KEEPS, SUMS)                                                               \
  __kernel void update_##NAME(ARGUMENTS) {                                                                    \
    const long begin = get_global_id(0) * stretch, end = min(begin + stretch, count);                         \
    double2 squares = 0;                                                                                      \
    for (long i = begin; i < end; i += 8) {                                                                   \
      const long n = end - i;                                                                                 \
      const float8 p = get8_of(AT(float, w) + i, n, 0);                                                       \
      const float8 d = g_memory ? u.grad_scale * get8_of(AT(float, g) + i, n, 0) + u.l2 * p : (float8)(0);    \
      float8 s0 = STATES > 0 ? get8_of(AT(float, m) + i, n, 0) : (float8)(0);                                 \
      float8 s1 = STATES > 1 ? get8_of(AT(float, v) + i, n, 0) : (float8)(0);                                 \
      const float8 result = apply(NAME, &u, p, d, &s0, &s1, &squares);                                        \
      if (KEEPS && STATES > 0) put8_of(s0, AT(float, m) + i, n);                                              \
      if (KEEPS && STATES > 1) put8_of(s1, AT(float, v) + i, n);                                              \
      if (WRITES) put8_of(result, (out_memory ? AT(float, out) : AT(float, w)) + i, n);                       \
    }                                                                                                         \
    if (SUMS && begin < count) AT(double2, sums)[get_global_id(0)] = squares;                                 \
  }
RULE(DESCENT, 0, 1, 0, 0)
RULE(MOMENTUM, 1, 1, 1, 0)
RULE(HEAVY_BALL, 1, 1, 1, 0)
RULE(LION, 1, 1, 1, 0)
RULE(ADAM, 2, 1, 1, 0)
RULE(SCHEDULE_FREE, 2, 1, 1, 0)
RULE(AVERAGE, 1, 1, 0, 0)
RULE(EXTRAPOLATE, 1, 1, 1, 0)
RULE(NORMS, 0, 0, 0, 1)
RULE(LAMB_MOMENTS, 2, 0, 1, 1)
RULE(LAMB_APPLY, 2, 1, 0, 0)
RULE(SECOND_MOMENT, 1, 0, 1, 0)
RULE(NORMALIZED_SUMS, 1, 0, 0, 1)
RULE(NORMALIZED_APPLY, 1, 1, 0, 0)
RULE(MUON_DIRECTION, 1, 1, 1, 0)

// The group lasso: each row is brought nearer to 0 by `threshold`, in the Euclidean norm.
__kernel void shrink_rows(MEMORY(float, w), const long cols, const double threshold) {
  __global float *row = AT(float, w) + get_group_id(0) * cols;
  double squares = 0;
  for (long i = 0; i < cols; i++) squares += (double)row[i] * row[i];
  const double norm = sqrt(squares);
  const float keep = norm > threshold ? 1 - threshold / norm : norm <= threshold ? 0 : norm;
  for (long i = 0; i < cols; i++) row[i] *= keep;
}

// Adafactor's second moment of a matrix, in factors: v of (r, c) is row[r] column[c] / mean of row.

// factor[i] = keep factor[i] + take (the mean of squares + eps), over `length` elements of g: of row or column i.
__kernel void average_squares(
    MEMORY(float, factor), MEMORY(float, g), const long count, const long length, const long across, const long along,
    const float eps, const update u) {
  const long i = get_global_id(0);
  if (i >= count) return;
  float sum = 0;
  for (long j = 0; j < length; j++) {
    const float d = AT(float, g)[i * across + j * along] * u.grad_scale;
    sum += d * d;
  }
  AT(float, factor)[i] = u.keep[1] * AT(float, factor)[i] + u.take[1] * (sum / length + eps);
}

// NORMALIZED_SUMS and NORMALIZED_APPLY: an item has a row, whose share of v is in the scale of its gradient.
#define FACTORED(NAME, WRITES)                                                                                      \
  __kernel void factored_##NAME(                                                                                    \
      MEMORY(float, w), MEMORY(float, g), MEMORY(float, row), MEMORY(float, column), MEMORY(double2, sums),         \
      const long rows, const long cols, const double mean, const update u) {                                        \
    const long r = get_global_id(0);                                                                                \
    if (r >= rows) return;                                                                                          \
    const float scale = u.grad_scale * (float)sqrt(mean / AT(float, row)[r]);                                       \
    double2 squares = 0;                                                                                            \
    for (long c = 0; c < cols; c += 8) {                                                                            \
      __global float *p = AT(float, w) + r * cols + c;                                                              \
      const float8 d = scale * get8_of(AT(float, g) + r * cols + c, cols - c, 0);                                   \
      float8 v = get8_of(AT(float, column) + c, cols - c, 0), unused = 0;                                           \
      const float8 result = apply(NAME, &u, get8_of(p, cols - c, 0), d, &v, &unused, &squares);                     \
      if (WRITES) put8_of(result, p, cols - c);                                                                     \
    }                                                                                                               \
    if (!WRITES) AT(double2, sums)[r] = squares;                                                                    \
  }
FACTORED(NORMALIZED_SUMS, 0)
FACTORED(NORMALIZED_APPLY, 1)

// Of a matrix with `side` rows: the sum down its diagonal, and x added to each element of it.
__kernel void diagonal_sum(MEMORY(double, out), MEMORY(float, a), const long side) {
  double sum = 0;
  for (long i = 0; i < side; i++) sum += AT(float, a)[i * (side + 1)];
  AT(double, out)[0] = sum;
}

__kernel void diagonal_add(MEMORY(float, a), const long side, const float x) {
  const long i = get_global_id(0);
  if (i < side) AT(float, a)[i * (side + 1)] += x;
}
#endif
