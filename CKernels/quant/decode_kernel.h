// Numbers of 8 and 4 bits as vectors of fp32: what unpacks them inside other kernels too.
#ifndef KILN_QUANT_DECODE_KERNEL_H
#define KILN_QUANT_DECODE_KERNEL_H

typedef uint8_t vb __attribute__((ext_vector_type(KILN_VL)));
typedef int8_t vsb __attribute__((ext_vector_type(KILN_VL)));

VEC vi vi_select(vi mask, vi yes, vi no) { return mask ? yes : no; }
VEC vf vf_of(vi x) { return __builtin_convertvector(x, vf); }

// Integers of memory; _read: n >= 1 are left at p, the missing ones are 0.
VEC_OF vi vi_load(const uint8_t *p) { vb v; memcpy(&v, p, sizeof v); return __builtin_convertvector(v, vi); }
VEC_OF vi vi_load(const int8_t *p) { vsb v; memcpy(&v, p, sizeof v); return __builtin_convertvector(v, vi); }
VEC_OF vi vi_load(const uint16_t *p) { vh v; memcpy(&v, p, sizeof v); return __builtin_convertvector(v, vi); }
VEC_OF vi vi_load(const uint32_t *p) { vi v; memcpy(&v, p, sizeof v); return v; }
VEC_OF void vi_store(uint8_t *p, vi x) { vb v = __builtin_convertvector(x, vb); memcpy(p, &v, sizeof v); }
VEC_OF void vi_store(uint16_t *p, vi x) { vh v = __builtin_convertvector(x, vh); memcpy(p, &v, sizeof v); }
#define READS(TYPE)                                        \
  VEC_OF vi vi_read(const TYPE *p, int64_t n) {            \
    if (n >= KILN_VL) return vi_load(p);                   \
    TYPE lane[KILN_VL] = {0};                              \
    memcpy(lane, p, (size_t)n * sizeof *p);                \
    return vi_load(lane);                                  \
  }
#define WRITES(TYPE)                                       \
  VEC_OF void vi_write(TYPE *p, vi x, int64_t n) {         \
    TYPE lane[KILN_VL];                                    \
    if (n >= KILN_VL) vi_store(p, x);                      \
    else vi_store(lane, x), memcpy(p, lane, (size_t)n * sizeof *p); \
  }
READS(uint8_t)
READS(int8_t)
READS(uint16_t)
READS(uint32_t)
WRITES(uint8_t)
WRITES(uint16_t)
#undef READS
#undef WRITES

// A narrow floating-point type but BF16; `t` is a constant where it is inlined. Subnormal numbers are integers times a
// power of 2, the others are fp32 with another bias.
VEC vf quant_decode_narrow(vi code, kiln__narrow_type t) {
  const int drop = 23 - t.mantissa;
  vi magnitude = code & ((1 << (t.bits - 1)) - 1), sign = (code >> (t.bits - 1)) << 31;
  vi normal = (magnitude << drop) + ((127 - t.bias) << 23), special = (vi)(0x7fc00000);
  vf least = (vf)(vi)((128 - t.bias - t.mantissa) << 23);  // the smallest number
  vi subnormal = (vi)(vf_of(magnitude) * least);
  vi finite = vi_select(magnitude < (1 << t.mantissa), subnormal, normal);
  if (t.nan != t.infinity) special = vi_select(magnitude == (int32_t)t.infinity, (vi)(0x7f800000), special);
  return (vf)(sign | vi_select(magnitude >= (int32_t)t.infinity, special, finite));
}

// table[index] for indices of 0 ... 7.
VEC vf quant_lookup_8(const float table[8], vi index) {
#if KILN_VL == 8 && defined(__x86_64__)
  return (vf)__builtin_ia32_permvarsf256(vf_load(table), index);
#elif KILN_VL == 16 && defined(__x86_64__)
  float __attribute__((ext_vector_type(8))) x;
  memcpy(&x, table, sizeof x);
  vf twice = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7);
  return __builtin_ia32_permvarsf512(twice, index);
#else
  vf v;
  for (int i = 0; i < KILN_VL; i++) v[i] = table[index[i] & 7];
  return v;
#endif
}

// table[index] for indices of 0 ... 15.
VEC vf quant_lookup(const float table[16], vi index) {
#if KILN_VL == 8 && defined(__x86_64__)
  return vf_select(index > 7, quant_lookup_8(table + 8, index), quant_lookup_8(table, index));
#elif KILN_VL == 16 && defined(__x86_64__)
  return __builtin_ia32_permvarsf512(vf_load(table), index);
#else
  vf v;
  for (int i = 0; i < KILN_VL; i++) v[i] = table[index[i]];
  return v;
#endif
}

// KILN_VL elements of NF4 from `at` on, an even number; at one lane also an odd one.
VEC vf quant_decode_nf4(const uint8_t *codes, int64_t at) {
#if KILN_VL == 1
  return quant_lookup(kiln__nf4, (vi)(at % 2 ? codes[at / 2] & 15 : codes[at / 2] >> 4));
#else
  uint8_t __attribute__((ext_vector_type(KILN_VL / 2))) pair;
  memcpy(&pair, codes + at / 2, sizeof pair);
  // Each byte twice in a 32-bit lane: its high half first.
  typedef uint32_t half __attribute__((ext_vector_type(KILN_VL / 2)));
  typedef uint64_t wide __attribute__((ext_vector_type(KILN_VL / 2)));
  wide both = __builtin_convertvector(__builtin_convertvector(pair, half), wide);
  vi index = (vi)(both >> 4 | (both & 15) << 32);
  return quant_lookup(kiln__nf4, index);
#endif
}

// The halves of KILN_VL bytes as integers 0 ... 15: shift 0 for the low ones, 4 for the high ones. Of Q4_0 and Q4_1 the
// bytes' low halves are the elements 0 ... 15, the high ones 16 ... 31.
VEC vf quant_decode_nibbles(const uint8_t *p, int shift) { return vf_of(vi_load(p) >> shift & 15); }

#endif
