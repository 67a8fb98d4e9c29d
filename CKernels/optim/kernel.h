// Optimizer updates in vectors. Each reads and writes memory once, which is what it costs. The arguments are copied,
// so that the compiler knows that no store changes them and keeps the scalars in registers. Processors that fetch ahead
// by themselves stop at the end of a page, where four streams at once would wait.

VEC void optim_fetch(const float *p) { __builtin_prefetch((const char *)p + 512, 0, 3); }

VEC void sgd_update(float *w, float *m, const float *g, const kiln__sgd_args *a, int64_t n) {
  optim_fetch(w);
  optim_fetch(g);
  vf momentum = vf_set((float)a->momentum), p = vf_read(w, n);
  vf d = vf_fma(p, vf_set((float)a->weight_decay), vf_read(g, n) * (float)a->grad_scale);
  if (m) {
    optim_fetch(m);
    vf moving = vf_fma(vf_read(m, n), momentum, d);
    vf_write(m, moving, n);
    d = a->nesterov ? vf_fma(moving, momentum, d) : moving;
  }
  vf_write(w, vf_fma(d, vf_set((float)-a->lr), p), n);
}

static void optim_sgd(const kiln__sgd_args *args, int64_t begin, int64_t end) {
  const kiln__sgd_args a = *args;
  float *w = a.w, *m = a.m;
  const float *g = a.g;
  for (int64_t i = begin; i < end; i += KILN_VL) sgd_update(w + i, m ? m + i : NULL, g + i, &a, end - i);
}

VEC void adam_update(float *w, float *m, float *v, const float *g, const kiln__adam_args *a, int64_t n) {
  optim_fetch(w);
  optim_fetch(m);
  optim_fetch(v);
  optim_fetch(g);
  vf p = vf_read(w, n);
  vf d = vf_fma(p, vf_set((float)a->coupled_decay), vf_read(g, n) * (float)a->grad_scale);
  vf mean = vf_fma(vf_read(m, n), vf_set((float)a->keep_m), d * (float)a->take_g);
  vf square = vf_fma(vf_read(v, n), vf_set((float)a->keep_v), d * (float)a->take_g2 * d);
  vf root = vf_fma(vf_sqrt(square), vf_set((float)a->root_scale), vf_set((float)a->eps));
  vf_write(m, mean, n);
  vf_write(v, square, n);
  vf_write(w, vf_fma(mean / root, vf_set((float)-a->step_size), p * (float)a->decay), n);
}

static void optim_adam(const kiln__adam_args *args, int64_t begin, int64_t end) {
  const kiln__adam_args a = *args;
  float *w = a.w, *m = a.m, *v = a.v;
  const float *g = a.g;
  for (int64_t i = begin; i < end; i += KILN_VL) adam_update(w + i, m + i, v + i, g + i, &a, end - i);
}

static const kiln__optim_kernels optim_kernels = {optim_sgd, optim_adam};
