// Dense layers for one input row, for one instruction set. The including file defines HB_VECTOR,
// HB_TARGET and HB_ISA as for conv_lut.h, and
//   pick(table, index)  byte i of the result = table[index[i]], index < 16, 16-byte table
//
// A byte of weights holds 8 inputs of one output; each half of it selects one of 16 tabulated sums
// of 4 inputs. Sums are split into digits small enough to be added as bytes before they are widened:
//   int8   sums of the inputs whose weight is +1, two digits of 5 bits, 8 additions per widening;
//   float  inputs as two planes of 12 bits (error of an input <= 2^-24 of the largest one, which
//          is what rounding to float32 costs that one), signed sums, two digits of 7 bits a plane,
//          2 additions per widening.
typedef uint8_t vb __attribute__((vector_size(HB_VECTOR), may_alias));
typedef uint16_t vw __attribute__((vector_size(HB_VECTOR), may_alias));
typedef int16_t sums16 __attribute__((vector_size(32)));
typedef uint8_t bytes16 __attribute__((vector_size(16), may_alias));

// How far ahead weights are asked for: hardware prefetchers stop at page ends, this does not.
enum { DIGITS_F32 = 4, DIGITS_S8 = 2, PREFETCH_BYTES = 8192 };

// The 16 sums of 4 inputs: sum p = sum of x[i] over the bits of p, less the others if `is_signed`.
HB_FN sums16 sums_of_4(const int16_t *x, int off) {
  const sums16 on0 = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
  const sums16 on1 = {0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1};
  const sums16 on2 = {0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1};
  const sums16 on3 = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  const int16_t k = (int16_t)(1 - off), o = (int16_t)off;  // on -> 1, off -> `off`
  return (on0 * k + o) * x[0] + (on1 * k + o) * x[1] + (on2 * k + o) * x[2] +
         (on3 * k + o) * x[3];
}

HB_FN void put_digits(uint8_t *to, sums16 sums, int bits) {
  const sums16 low = sums & (int16_t)((1 << bits) - 1), high = sums >> bits;
  *(bytes16 *)to = __builtin_convertvector(low, bytes16);
  *(bytes16 *)(to + 16) = __builtin_convertvector(high, bytes16);
}

HB_TARGET static void HB_ISA(dense_tables_s8)(const int8_t *x, int in_c, uint8_t *tables) {
  for (int k = 0; k < (in_c + 7) / 8 * 8; k += 4, tables += 16 * DIGITS_S8) {
    int16_t four[4] = {0};
    for (int i = 0; i < 4 && k + i < in_c; ++i) four[i] = x[k + i];
    put_digits(tables, sums_of_4(four, 0) + (int16_t)512, 5);
  }
}

// x ~ (high + low / 4094) / scale, |high| <= 2047, |low| <= 2047
HB_TARGET static void HB_ISA(dense_tables_f32)(const float *x, int in_c, float scale,
                                               uint8_t *tables) {
  for (int k = 0; k < (in_c + 7) / 8 * 8; k += 4, tables += 16 * DIGITS_F32) {
    int16_t high[4] = {0}, low[4] = {0};
    for (int i = 0; i < 4 && k + i < in_c; ++i) {
      const float v = x[k + i] * scale, h = rintf(v);
      high[i] = (int16_t)h;
      low[i] = (int16_t)rintf((v - h) * 4094.f);
    }
    put_digits(tables, sums_of_4(high, -1) + (int16_t)8192, 7);
    put_digits(tables + 32, sums_of_4(low, -1) + (int16_t)8192, 7);
  }
}

typedef struct {
  vw both, odd;  // 16-bit sums of byte pairs, and of their upper bytes
} digit_sums;

// Adds the byte sums to 16-bit ones, 3 operations.
HB_FN void widen_bytes(digit_sums *s, vb bytes) {
  s->both += (vw)bytes;
  s->odd += (vw)bytes >> 8;
}

// Adds weight * digit to the block's totals and clears the digit.
HB_FN void flush_digit(int32_t *total, digit_sums *s, int32_t weight) {
  const vw even = s->both - (s->odd << 8);
  for (int i = 0; i < HB_VECTOR / 2; ++i) {
    total[2 * i] += weight * (int32_t)even[i];
    total[2 * i + 1] += weight * (int32_t)s->odd[i];
  }
  *s = (digit_sums){{0}, {0}};
}

// total[o] = sum over inputs with weight +1, plus 512 per group of 4.
HB_TARGET static void HB_ISA(dense_sums_s8)(const uint8_t *bits, int bytes, const uint8_t *tables,
                                            int32_t *total) {
  const vb low4 = (vb){0} + (uint8_t)15;
  memset(total, 0, HB_VECTOR * sizeof *total);
  for (int k0 = 0; k0 < bytes; k0 += 1024) {  // 256 widenings of at most 248 fit 16 bits
    const int end = bytes - k0 < 1024 ? bytes : k0 + 1024;
    digit_sums s[DIGITS_S8] = {{{0}, {0}}, {{0}, {0}}};
    for (int k = k0; k < end; k += 4) {
      vb a[DIGITS_S8] = {{0}, {0}};
      const int four = end - k < 4 ? end - k : 4;
      for (int j = 0; j < four; ++j) {
        const uint8_t *at = bits + (size_t)(k + j) * HB_VECTOR;
        __builtin_prefetch(at + PREFETCH_BYTES);
        const vb w = *(const vb *)at;
        const vb first = w & low4, second = (vb)((vw)w >> 4) & low4;
        const uint8_t *t = tables + (size_t)(k + j) * 32 * DIGITS_S8;
        for (int d = 0; d < DIGITS_S8; ++d)
          a[d] += pick(t + 16 * d, first) + pick(t + 16 * (DIGITS_S8 + d), second);
      }
      for (int d = 0; d < DIGITS_S8; ++d) widen_bytes(&s[d], a[d]);
    }
    flush_digit(total, &s[0], 1);
    flush_digit(total, &s[1], 32);
  }
}

// high[o], low[o] = signed sums of the two planes, plus 8192 per group of 4.
HB_TARGET static void HB_ISA(dense_sums_f32)(const uint8_t *bits, int bytes,
                                             const uint8_t *tables, int32_t *high, int32_t *low) {
  const vb low4 = (vb){0} + (uint8_t)15;
  memset(high, 0, HB_VECTOR * sizeof *high);
  memset(low, 0, HB_VECTOR * sizeof *low);
  for (int k0 = 0; k0 < bytes; k0 += 256) {  // 256 widenings of at most 254 fit 16 bits
    const int end = bytes - k0 < 256 ? bytes : k0 + 256;
    digit_sums s[DIGITS_F32];
    memset(s, 0, sizeof s);
    for (int k = k0; k < end; ++k) {
      const uint8_t *at = bits + (size_t)k * HB_VECTOR;
      __builtin_prefetch(at + PREFETCH_BYTES);
      const vb w = *(const vb *)at;
      const vb first = w & low4, second = (vb)((vw)w >> 4) & low4;
      const uint8_t *t = tables + (size_t)k * 32 * DIGITS_F32;
      for (int d = 0; d < DIGITS_F32; ++d)
        widen_bytes(&s[d], pick(t + 16 * d, first) + pick(t + 16 * (DIGITS_F32 + d), second));
    }
    flush_digit(high, &s[0], 1);
    flush_digit(high, &s[1], 128);
    flush_digit(low, &s[2], 1);
    flush_digit(low, &s[3], 128);
  }
}
