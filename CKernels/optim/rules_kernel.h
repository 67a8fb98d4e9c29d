// The rules in vectors: from a weight p, its gradient d and its states s to what is written, new states and sums.
// `rule` is the same for a whole call; the scalars of u stay in registers.

#define SCALAR(x) vf_set((float)(x))

// The proximal operator of l1 |p| on [low, high]; nothing changes with the defaults 0 and infinity.
VEC vf optim_prox(const kiln__update *u, vf p) {
  return vf_clamp(p - vf_clamp(p, (float)-u->l1, (float)u->l1), (float)u->low, (float)u->high);
}

VEC vf optim_sign(vf x) { return vf_select(x > 0.0f, vf_set(1), vf_select(x < 0.0f, vf_set(-1), x)); }

VEC vf optim_average(const kiln__update *u, int which, vf old, vf x) {
  return vf_fma(old, SCALAR(u->keep[which]), x * (float)u->take[which]);
}

VEC vf optim_root(const kiln__update *u, vf v) { return vf_fma(vf_sqrt(v), SCALAR(u->root_scale), SCALAR(u->eps)); }

VEC vf optim_lamb_direction(const kiln__update *u, vf p, vf m, vf v) {
  return vf_fma(p, SCALAR(u->weight_decay), m * (float)u->mean_scale / optim_root(u, v));
}

// Adafactor's; 0 for lanes beyond the end, where d and v are 0.
VEC vf optim_normalized(vf d, vf v) { return d / vf_max(vf_set(FLT_MIN), vf_sqrt(v)); }

VEC vf optim_rule(kiln__rule rule, const kiln__update *u, vf p, vf d, vf s[2], vf sum[2]) {
  switch (rule) {
    case KILN_RULE_DESCENT: return optim_prox(u, vf_fma(d, SCALAR(-u->lr), p * (float)u->decay));
    case KILN_RULE_MOMENTUM:
      s[0] = vf_fma(s[0], SCALAR(u->keep[0]), d);
      d = u->nesterov ? vf_fma(s[0], SCALAR(u->keep[0]), d) : s[0];
      return optim_prox(u, vf_fma(d, SCALAR(-u->lr), p));
    case KILN_RULE_HEAVY_BALL:
      s[0] = vf_fma(s[0], SCALAR(u->keep[0]), d * (float)-u->lr);
      return optim_prox(u, p + s[0]);
    case KILN_RULE_LION: {
      vf direction = optim_sign(optim_average(u, 0, s[0], d));
      s[0] = optim_average(u, 1, s[0], d);
      return vf_fma(direction, SCALAR(-u->lr), p * (float)u->decay);
    }
    case KILN_RULE_ADAM:
      s[0] = optim_average(u, 0, s[0], d);
      s[1] = vf_fma(s[1], SCALAR(u->keep[1]), d * (float)u->take[1] * d);
      return vf_fma(s[0] / optim_root(u, s[1]), SCALAR(-u->lr), p * (float)u->decay);
    case KILN_RULE_SCHEDULE_FREE: {
      s[0] = vf_fma(s[0], SCALAR(u->keep[1]), d * (float)u->take[1] * d);
      vf z = u->first ? p : s[1], direction = vf_fma(p, SCALAR(u->weight_decay), d / optim_root(u, s[0]));
      s[1] = vf_fma(direction, SCALAR(-u->lr), z);
      return vf_fma(direction, SCALAR(u->pull), vf_fma(z - p, SCALAR(u->blend), p));
    }
    case KILN_RULE_AVERAGE: return vf_fma(s[0] - p, SCALAR(u->blend), p);
    case KILN_RULE_EXTRAPOLATE: {
      vf last = s[0];
      s[0] = p;
      return vf_fma(p - last, SCALAR(u->blend), p);
    }
    case KILN_RULE_NORMS:
      sum[0] = vf_fma(p, p, sum[0]);
      sum[1] = vf_fma(d, d, sum[1]);
      return p;
    case KILN_RULE_LAMB_MOMENTS: {
      s[0] = optim_average(u, 0, s[0], d);
      s[1] = vf_fma(s[1], SCALAR(u->keep[1]), d * (float)u->take[1] * d);
      vf direction = optim_lamb_direction(u, p, s[0], s[1]);
      sum[0] = vf_fma(p, p, sum[0]);
      sum[1] = vf_fma(direction, direction, sum[1]);
      return p;
    }
    case KILN_RULE_LAMB_APPLY: return vf_fma(optim_lamb_direction(u, p, s[0], s[1]), SCALAR(-u->lr), p);
    case KILN_RULE_SECOND_MOMENT:
      s[0] = optim_average(u, 1, s[0], vf_fma(d, d, SCALAR(u->eps)));
      return p;
    case KILN_RULE_NORMALIZED_SUMS: {
      vf direction = optim_normalized(d, s[0]);
      sum[0] = vf_fma(p, p, sum[0]);
      sum[1] = vf_fma(direction, direction, sum[1]);
      return p;
    }
    case KILN_RULE_NORMALIZED_APPLY:
      return vf_fma(optim_normalized(d, s[0]), SCALAR(-u->lr), p * (float)u->decay);
    case KILN_RULE_MUON_DIRECTION:
      s[0] = optim_average(u, 0, s[0], d);
      return u->nesterov ? optim_average(u, 0, s[0], d) : s[0];
    case KILN_RULES: break;
  }
  return p;
}

#undef SCALAR
