// States in fp32 from how they are kept, and back, a block at a time.

static void state_open_bf16(float *to, const kiln__bf16 *from, int64_t n) {
  for (int64_t i = 0; i < n; i += KILN_VL) vf_write(to + i, vf_read(from + i, n - i), n - i);
}

static void state_close_bf16(kiln__bf16 *to, const float *from, int64_t n) {
  for (int64_t i = 0; i < n; i += KILN_VL) vf_write(to + i, vf_read(from + i, n - i), n - i);
}

// bf16 is the upper half of fp32: adding 16 random bits carries into it with the probability of the lower half. What
// is not finite stays so.
static void state_close_stochastic(kiln__bf16 *to, const float *from, int64_t begin, int64_t n, const kiln__update *u,
                                   int state) {
  uint32_t words[KILN_PHILOX_WORDS];
  for (int64_t i = 0; i < n; i += KILN_PHILOX_WORDS) {
    kiln__random_run(words, &u->random, begin + i);
    int64_t count = kiln__min(KILN_PHILOX_WORDS, n - i);
    for (int64_t j = 0; j < count; j++) {
      uint32_t bits = kiln__bits_from_f32(from[i + j]), random = words[j] >> 16 * state & 0xffff;
      uint32_t rounded = (bits + random) >> 16;
      to[i + j].bits = (bits & 0x7f800000) == 0x7f800000 ? kiln__bf16_from_f32(from[i + j]) : (uint16_t)rounded;
    }
  }
}

static void state_open_8bit(float *to, const uint8_t *codes, float scale, const kiln__dynamic_map *map, int64_t n) {
  for (int64_t i = 0; i < n; i++) to[i] = map->value[codes[i]] * scale;
}

// A block whose largest magnitude is subnormal becomes all zeros. The leading bits of a magnitude name a bucket of the
// map, and one comparison decides between its two candidates.
static void state_close_8bit(uint8_t *codes, float *scale, float *from, const kiln__dynamic_map *map, int64_t n) {
  int64_t whole = kiln__round_up(n, KILN_VL);
  for (int64_t i = n; i < whole; i++) from[i] = 0;
  vf largest = vf_set(0);
  for (int64_t i = 0; i < whole; i += KILN_VL) largest = vf_max(largest, vf_abs(vf_load(from + i)));
  float most = vf_max_lane(largest), inverse = most >= FLT_MIN ? 1 / most : most < FLT_MIN ? 0 : most;
  *scale = most < FLT_MIN ? 0 : most;
  int32_t bucket[KILN_STATE_BLOCK];
  for (int64_t i = 0; i < whole; i += KILN_VL) {
    vf x = vf_load(from + i) * inverse;
    vi at = ((vi)vf_abs(x) >> 16) - KILN_MAP_LOW;
    at = at > 0 ? at : 0;
    at = at < KILN_MAP_BUCKETS - 1 ? at : KILN_MAP_BUCKETS - 1;
    memcpy(bucket + i, &at, sizeof at);
    vf_store(from + i, x);
  }
  for (int64_t i = 0; i < n; i++) {
    int32_t k = map->first[bucket[i]];
    k += kiln__f32_from_bits(kiln__bits_from_f32(from[i]) & 0x7fffffff) >= map->edge[k];
    bool negative = from[i] < 0;
    codes[i] = (uint8_t)(map->zero + (negative ? -(k < map->most ? k : map->most) : k));
  }
}

// The n elements from `begin` on: where they lie, or in `buffer`.
static float *state_open(const kiln__state *s, float *buffer, int64_t begin, int64_t n) {
  switch (s->codec) {
    case KILN_CODEC_PLAIN: return (float *)s->values + begin;
    case KILN_CODEC_BF16:
    case KILN_CODEC_STOCHASTIC: state_open_bf16(buffer, (const kiln__bf16 *)s->values + begin, n); break;
    case KILN_CODEC_8BIT:
      state_open_8bit(buffer, (const uint8_t *)s->values + begin, s->scales[begin / KILN_STATE_BLOCK], s->map, n);
  }
  return buffer;
}

// Puts back what state_open gave.
static void state_close(const kiln__update *u, int state, float *values, int64_t begin, int64_t n) {
  const kiln__state *s = &u->state[state];
  switch (s->codec) {
    case KILN_CODEC_PLAIN: break;
    case KILN_CODEC_BF16: state_close_bf16((kiln__bf16 *)s->values + begin, values, n); break;
    case KILN_CODEC_STOCHASTIC:
      state_close_stochastic((kiln__bf16 *)s->values + begin, values, begin, n, u, state);
      break;
    case KILN_CODEC_8BIT:
      state_close_8bit((uint8_t *)s->values + begin, s->scales + begin / KILN_STATE_BLOCK, values, s->map, n);
  }
}
