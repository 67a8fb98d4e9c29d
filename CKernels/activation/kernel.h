// Activations, gated activations and dropout in vectors.

// Inlined once for each kind, so that no loop has a switch.
VEC void KER(activation_fwd_kind)(kiln_activation kind, ELEMENT *y, const ELEMENT *x, int64_t n) {
  for (int64_t i = 0; i < n; i += KILN_WL) vf_write(y + i, act_value(kind, vw_read(x + i, n - i)), n - i);
}

static void KER(activation_fwd)(kiln_activation kind, void *y, const void *x, int64_t n) {
  switch (kind) {
    case KILN_ACT_NONE: KER(activation_fwd_kind)(KILN_ACT_NONE, y, x, n); break;
    case KILN_ACT_RELU: KER(activation_fwd_kind)(KILN_ACT_RELU, y, x, n); break;
    case KILN_ACT_GELU_TANH: KER(activation_fwd_kind)(KILN_ACT_GELU_TANH, y, x, n); break;
    case KILN_ACT_GELU_ERF: KER(activation_fwd_kind)(KILN_ACT_GELU_ERF, y, x, n); break;
    case KILN_ACT_SILU: KER(activation_fwd_kind)(KILN_ACT_SILU, y, x, n); break;
  }
}

VEC void KER(activation_bwd_kind)(kiln_activation kind, ELEMENT *dx, const ELEMENT *dy, const ELEMENT *x, int64_t n) {
  for (int64_t i = 0; i < n; i += KILN_WL) {
    vf_write(dx + i, vw_read(dy + i, n - i) * act_slope(kind, vw_read(x + i, n - i)), n - i);
  }
}

static void KER(activation_bwd)(kiln_activation kind, void *dx, const void *dy, const void *x, int64_t n) {
  switch (kind) {
    case KILN_ACT_NONE: KER(activation_bwd_kind)(KILN_ACT_NONE, dx, dy, x, n); break;
    case KILN_ACT_RELU: KER(activation_bwd_kind)(KILN_ACT_RELU, dx, dy, x, n); break;
    case KILN_ACT_GELU_TANH: KER(activation_bwd_kind)(KILN_ACT_GELU_TANH, dx, dy, x, n); break;
    case KILN_ACT_GELU_ERF: KER(activation_bwd_kind)(KILN_ACT_GELU_ERF, dx, dy, x, n); break;
    case KILN_ACT_SILU: KER(activation_bwd_kind)(KILN_ACT_SILU, dx, dy, x, n); break;
  }
}

static void KER(activation_swiglu_fwd)(void *y_, const void *gate_, const void *up_, int64_t n) {
  ELEMENT *y = y_;
  const ELEMENT *gate = gate_, *up = up_;
  for (int64_t i = 0; i < n; i += KILN_WL) {
    vf_write(y + i, act_value(KILN_ACT_SILU, vw_read(gate + i, n - i)) * vw_read(up + i, n - i), n - i);
  }
}

static void KER(activation_swiglu_bwd)(void *dgate_, void *dup_, const void *dy_, const void *gate_, const void *up_,
                                  int64_t n) {
  ELEMENT *dgate = dgate_, *dup = dup_;
  const ELEMENT *dy = dy_, *gate = gate_, *up = up_;
  for (int64_t i = 0; i < n; i += KILN_WL) {
    vw d = vw_read(dy + i, n - i), g = vw_read(gate + i, n - i), u = vw_read(up + i, n - i);
    vf_write(dgate + i, d * u * act_slope(KILN_ACT_SILU, g), n - i);
    vf_write(dup + i, d * act_value(KILN_ACT_SILU, g), n - i);
  }
}

// The factors of KILN_PHILOX_WORDS elements at a time. The first block may begin before `first`.
static void KER(activation_dropout)(const kiln__dropout_args *a, void *y_, const void *x_, int64_t first, int64_t n) {
  ELEMENT *y = y_;
  const ELEMENT *x = x_;
  float scale = (float)a->scale, factor[KILN_PHILOX_WORDS];
  uint32_t words[KILN_PHILOX_WORDS];
  for (int64_t i = -(first % 4); i < n; i += KILN_PHILOX_WORDS) {
    kiln__random_run(words, &a->random, first + i);
    for (int w = 0; w < KILN_PHILOX_WORDS; w++) factor[w] = words[w] >= a->threshold ? scale : 0;
    int64_t from = kiln__max(i, 0), to = kiln__min(i + KILN_PHILOX_WORDS, n);
    for (int64_t j = from; j < to; j += KILN_VL) {
      int64_t left = to - j;
      vf_write(y + j, vf_read(x + j, left) * vf_read(factor + (j - i), left), left);
    }
  }
}

static const kiln__activation_kernels KER(activation_kernels) = {
    KER(activation_fwd), KER(activation_bwd), KER(activation_swiglu_fwd), KER(activation_swiglu_bwd),
    KER(activation_dropout)};
