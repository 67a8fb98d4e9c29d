// States and weights in fp32 from how they are kept, and back, a block at a time.

static void state_open_bf16(float *to, const kiln__bf16 *from, int64_t n) {
  for (int64_t i = 0; i < n; i += KILN_VL) vf_write(to + i, vf_read(from + i, n - i), n - i);
}

static void state_close_bf16(kiln__bf16 *to, const float *from, int64_t n) {
  for (int64_t i = 0; i < n; i += KILN_VL) vf_write(to + i, vf_read(from + i, n - i), n - i);
}

// bf16 is the upper half of fp32: adding 16 random bits carries into it with the probability of the lower half. What
// is not finite stays so.
static void state_close_stochastic(const kiln__state *s, const float *from, int64_t begin, int64_t n) {
  kiln__bf16 *to = (kiln__bf16 *)s->values + begin;
  uint32_t words[KILN_PHILOX_WORDS];
  for (int64_t i = 0; i < n; i += KILN_PHILOX_WORDS) {
    kiln__random_run(words, s->random, begin + i);
    int64_t count = kiln__min(KILN_PHILOX_WORDS, n - i);
    for (int64_t j = 0; j < count; j++) {
      uint32_t bits = kiln__bits_from_f32(from[i + j]), random = words[j] >> s->half & 0xffff;
      uint32_t rounded = (bits + random) >> 16;
      to[i + j].bits = (bits & 0x7f800000) == 0x7f800000 ? kiln__bf16_from_f32(from[i + j]) : (uint16_t)rounded;
    }
  }
}

static void state_open_split(float *to, const kiln__bf16 *values, const kiln__bf16 *remainder, int64_t n) {
  for (int64_t i = 0; i < n; i += KILN_VL) {
    vf_write(to + i, vf_read(values + i, n - i) + vf_read(remainder + i, n - i), n - i);
  }
}

static void state_close_split(kiln__bf16 *values, kiln__bf16 *remainder, const float *from, int64_t n) {
  for (int64_t i = 0; i < n; i += KILN_VL) {
    vf x = vf_read(from + i, n - i);
    vf_write(values + i, x, n - i);
    vf_write(remainder + i, x - vf_read(values + i, n - i), n - i);
  }
}

// The n elements from `begin` on: where they lie, or in `buffer`.
static float *state_open(const kiln__state *s, float *buffer, int64_t begin, int64_t n) {
  switch (s->codec) {
    case KILN_CODEC_PLAIN: return (float *)s->values + begin;
    case KILN_CODEC_BF16:
    case KILN_CODEC_STOCHASTIC: state_open_bf16(buffer, (const kiln__bf16 *)s->values + begin, n); break;
    case KILN_CODEC_SPLIT:
      state_open_split(buffer, (const kiln__bf16 *)s->values + begin, (const kiln__bf16 *)s->remainder + begin, n);
      break;
    case KILN_CODEC_8BIT:
      quant_from_dynamic(buffer, (const uint8_t *)s->values + begin, s->scales[begin / KILN_QUANT_BLOCK], s->map, n);
  }
  return buffer;
}

// Puts back what state_open gave.
static void state_close(const kiln__state *s, float *values, int64_t begin, int64_t n) {
  switch (s->codec) {
    case KILN_CODEC_PLAIN: break;
    case KILN_CODEC_BF16: state_close_bf16((kiln__bf16 *)s->values + begin, values, n); break;
    case KILN_CODEC_STOCHASTIC: state_close_stochastic(s, values, begin, n); break;
    case KILN_CODEC_SPLIT:
      state_close_split((kiln__bf16 *)s->values + begin, (kiln__bf16 *)s->remainder + begin, values, n);
      break;
    case KILN_CODEC_8BIT:
      quant_to_dynamic((uint8_t *)s->values + begin, s->scales + begin / KILN_QUANT_BLOCK, values, s->map, n);
  }
}
