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

static inline float prox(const update *u, float p) {
  return clamp(p - clamp(p, -u->l1, u->l1), u->low, u->high);
}

static inline float average(const update *u, int which, float old, float x) {
  return u->keep[which] * old + u->take[which] * x;
}

static inline float root(const update *u, float v) { return sqrt(v) * u->root_scale + u->eps; }

static inline float lamb_direction(const update *u, float p, float m, float v) {
  return m * u->mean_scale / root(u, v) + u->weight_decay * p;
}

static inline float normalized(float d, float v) { return d / max(sqrt(v), FLT_MIN); }

// What a rule gives for a weight p, its gradient d and its states; squares are the parts of the two sums.
static inline float apply(const int rule, const update *u, float p, float d, float *s0, float *s1, double2 *squares) {
  switch (rule) {
    case DESCENT: return prox(u, u->decay * p - u->lr * d);
    case MOMENTUM:
      *s0 = u->keep[0] * *s0 + d;
      return prox(u, p - u->lr * (u->nesterov ? d + u->keep[0] * *s0 : *s0));
    case HEAVY_BALL:
      *s0 = u->keep[0] * *s0 - u->lr * d;
      return prox(u, p + *s0);
    case LION: {
      const float direction = average(u, 0, *s0, d);
      *s0 = average(u, 1, *s0, d);
      return u->decay * p - u->lr * (direction > 0 ? 1 : direction < 0 ? -1 : direction);
    }
    case ADAM:
      *s0 = average(u, 0, *s0, d);
      *s1 = average(u, 1, *s1, d * d);
      return u->decay * p - u->lr * (*s0 / root(u, *s1));
    case SCHEDULE_FREE: {
      *s0 = average(u, 1, *s0, d * d);
      const float z = u->first ? p : *s1, direction = d / root(u, *s0) + u->weight_decay * p;
      *s1 = z - u->lr * direction;
      return p + u->blend * (z - p) + u->pull * direction;
    }
    case AVERAGE: return p + u->blend * (*s0 - p);
    case EXTRAPOLATE: {
      const float last = *s0;
      *s0 = p;
      return p + u->blend * (p - last);
    }
    case NORMS: *squares += (double2)((double)p * p, (double)d * d); return p;
    case LAMB_MOMENTS: {
      *s0 = average(u, 0, *s0, d);
      *s1 = average(u, 1, *s1, d * d);
      const double direction = lamb_direction(u, p, *s0, *s1);
      *squares += (double2)((double)p * p, direction * direction);
      return p;
    }
    case LAMB_APPLY: return p - u->lr * lamb_direction(u, p, *s0, *s1);
    case SECOND_MOMENT: *s0 = average(u, 1, *s0, d * d + u->eps); return p;
    case NORMALIZED_SUMS: {
      const double direction = normalized(d, *s0);
      *squares += (double2)((double)p * p, direction * direction);
      return p;
    }
    case NORMALIZED_APPLY: return u->decay * p - u->lr * normalized(d, *s0);
    default:
      *s0 = average(u, 0, *s0, d);
      return u->nesterov ? average(u, 0, *s0, d) : *s0;
  }
}

#define ARGUMENTS                                                                                                    \
  MEMORY(float, w), MEMORY(float, g), MEMORY(float, out), MEMORY(float, m), MEMORY(float, v), MEMORY(double2, sums), \
      const long count, const long stretch, const update u

// Element i. STATES, WRITES and KEEPS are as in KILN_EACH_RULE.
#define ELEMENT(NAME, STATES, WRITES, KEEPS)                                                           \
  {                                                                                                    \
    const float p = AT(float, w)[i], d = g_memory ? u.grad_scale * AT(float, g)[i] + u.l2 * p : 0;     \
    float s0 = STATES > 0 ? AT(float, m)[i] : 0, s1 = STATES > 1 ? AT(float, v)[i] : 0;                \
    const float result = apply(NAME, &u, p, d, &s0, &s1, &squares);                                    \
    if (KEEPS && STATES > 0) AT(float, m)[i] = s0;                                                     \
    if (KEEPS && STATES > 1) AT(float, v)[i] = s1;                                                     \
    if (WRITES) (out_memory ? AT(float, out) : AT(float, w))[i] = result;                              \
  }

// An item has one element.
#define RULE(NAME, STATES, WRITES, KEEPS)                     \
  __kernel void update_##NAME(ARGUMENTS) {                    \
    const long i = get_global_id(0);                          \
    double2 squares = 0;                                      \
    if (i < count) ELEMENT(NAME, STATES, WRITES, KEEPS)       \
  }

// An item has `stretch` elements, and two sums over them.
#define RULE_WITH_SUMS(NAME, STATES, WRITES, KEEPS)                                                   \
  __kernel void update_##NAME(ARGUMENTS) {                                                            \
    const long begin = get_global_id(0) * stretch, end = min(begin + stretch, count);                 \
    double2 squares = 0;                                                                              \
    for (long i = begin; i < end; i++) ELEMENT(NAME, STATES, WRITES, KEEPS)                           \
    if (begin < count) AT(double2, sums)[get_global_id(0)] = squares;                                 \
  }
RULE(DESCENT, 0, 1, 0)
RULE(MOMENTUM, 1, 1, 1)
RULE(HEAVY_BALL, 1, 1, 1)
RULE(LION, 1, 1, 1)
RULE(ADAM, 2, 1, 1)
RULE(SCHEDULE_FREE, 2, 1, 1)
RULE(AVERAGE, 1, 1, 0)
RULE(EXTRAPOLATE, 1, 1, 1)
RULE_WITH_SUMS(NORMS, 0, 0, 0)
RULE_WITH_SUMS(LAMB_MOMENTS, 2, 0, 1)
RULE(LAMB_APPLY, 2, 1, 0)
RULE(SECOND_MOMENT, 1, 0, 1)
RULE_WITH_SUMS(NORMALIZED_SUMS, 1, 0, 0)
RULE(NORMALIZED_APPLY, 1, 1, 0)
RULE(MUON_DIRECTION, 1, 1, 1)

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
    for (int i = 0; i < n; i++) {                                                                                   \
      const float p = AT(float, w)[begin + i], d = u.grad_scale * AT(float, g)[begin + i] + u.l2 * p;               \
      (out_memory ? AT(float, out) : AT(float, w))[begin + i] = apply(NAME, &u, p, d, &s0[i], &s1[i], &squares);    \
    }                                                                                                               \
    encode(AT(uchar, m) + begin, AT(float, m_scales) + block, s0, AT(dynamic_map, m_map), n);                       \
    if (STATES > 1) encode(AT(uchar, v) + begin, AT(float, v_scales) + block, s1, AT(dynamic_map, v_map), n);     \
  }
RULE_8BIT(MOMENTUM, 1)
RULE_8BIT(HEAVY_BALL, 1)
RULE_8BIT(LION, 1)
RULE_8BIT(ADAM, 2)
RULE_8BIT(MUON_DIRECTION, 1)

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
  AT(float, factor)[i] = average(&u, 1, AT(float, factor)[i], sum / length + eps);
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
    for (long c = 0; c < cols; c++) {                                                                               \
      __global float *p = AT(float, w) + r * cols + c;                                                              \
      float v = AT(float, column)[c], unused = 0;                                                                   \
      const float result = apply(NAME, &u, *p, scale * AT(float, g)[r * cols + c], &v, &unused, &squares);          \
      if (WRITES) *p = result;                                                                                      \
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
