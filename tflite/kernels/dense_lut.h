// Dense layers for one input row, for one instruction set. The including file defines HB_VECTOR,
// HB_TARGET and HB_ISA as for conv_lut.h, and
//   HB_DENSE_BLOCKS     blocks of int8 outputs summed at once, as many as registers allow
//   HB_HOLD(v)          makes the compiler finish the vector v here
//   pick(table, index)  byte i of the result = table[index[i]], index < 16, 16-byte table
//
// A byte of weights holds 8 inputs of one output; each half of it selects one of 16 tabulated sums
// of 4 inputs. Sums are split into digits small enough to be added as bytes before they are
// widened:
//   int8   sums of the inputs whose weight is +1, two digits of 5 bits, 8 additions per widening;
//   float  inputs as two planes of 12 bits (error of an input <= 2^-24 of the largest one, which
//          is what rounding to float32 costs that one), signed sums, two digits of 7 bits a plane,
//          2 additions per widening.
typedef uint8_t vb __attribute__((vector_size(HB_VECTOR), may_alias));
typedef uint16_t vw __attribute__((vector_size(HB_VECTOR), may_alias));
typedef uint32_t vu __attribute__((vector_size(HB_VECTOR), may_alias));
typedef int32_t vt __attribute__((vector_size(HB_VECTOR), may_alias));
typedef int16_t sums16 __attribute__((vector_size(32)));
typedef uint8_t bytes16 __attribute__((vector_size(16), may_alias));

// What makes sums of 4 inputs positive.
enum { OFFSET_F32 = 8192, OFFSET_S8 = 512 };
enum { BITS_F32 = 7, BITS_S8 = 5 };  // of a digit
// Bytes of weights whose digits are added as bytes, and as 16-bit words, before they are widened.
enum { AT_ONCE_S8 = 4, STEP_S8 = 1024, STEP_F32 = 256 };
// How far ahead weights are asked for: hardware prefetchers stop at page ends, this does not.
enum { PREFETCH_BYTES = 8192 };

_Static_assert(2 * AT_ONCE_S8 * ((1 << BITS_S8) - 1) <= UINT8_MAX, "int8 digits add up in bytes");
_Static_assert(2 * STEP_S8 * ((1 << BITS_S8) - 1) <= UINT16_MAX, "and then in 16-bit words");
_Static_assert(2 * ((1 << BITS_F32) - 1) <= UINT8_MAX, "float digits add up in bytes");
_Static_assert(2 * STEP_F32 * ((1 << BITS_F32) - 1) <= UINT16_MAX, "and then in 16-bit words");
_Static_assert(OFFSET_S8 >= 4 * 128 && OFFSET_S8 + 4 * 127 < 1 << 2 * BITS_S8, "two int8 digits");
_Static_assert(OFFSET_F32 >= 4 * 2047 && OFFSET_F32 + 4 * 2047 < 1 << 2 * BITS_F32, "of a plane");

// The 16 sums of 4 inputs: sum p = sum of x[i] over the bits of p, less the others if `is_signed`.
HB_FN sums16 sums_of_4(const int16_t *x, int off) {
  const sums16 on0 = {0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1};
  const sums16 on1 = {0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1};
  const sums16 on2 = {0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1};
  const sums16 on3 = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  const int16_t k = (int16_t)(1 - off), o = (int16_t)off;  // on -> 1, off -> `off`
  return (on0 * k + o) * x[0] + (on1 * k + o) * x[1] + (on2 * k + o) * x[2] + (on3 * k + o) * x[3];
}

HB_FN void put_digits(uint8_t *to, sums16 sums, int bits) {
  const sums16 low = sums & (int16_t)((1 << bits) - 1), high = sums >> bits;
  *(bytes16 *)to = __builtin_convertvector(low, bytes16);
  *(bytes16 *)(to + HB_HALF_TABLE) = __builtin_convertvector(high, bytes16);
}

HB_TARGET static void HB_ISA(dense_tables_s8)(const int8_t *x, int in_c, uint8_t *tables) {
  for (int k = 0; k < (in_c + 7) / 8 * 8; k += 4, tables += HB_HALF_TABLE * HB_DIGITS_S8) {
    int16_t four[4] = {0};
    for (int i = 0; i < 4 && k + i < in_c; ++i) four[i] = x[k + i];
    put_digits(tables, sums_of_4(four, 0) + (int16_t)OFFSET_S8, BITS_S8);
  }
}

// x ~ (high + low / 4094) / scale, |high| <= 2047, |low| <= 2047
HB_TARGET static void HB_ISA(dense_tables_f32)(const float *x, int in_c, float scale,
                                               uint8_t *tables) {
  for (int k = 0; k < (in_c + 7) / 8 * 8; k += 4, tables += HB_HALF_TABLE * HB_DIGITS_F32) {
    int16_t high[4] = {0}, low[4] = {0};
    for (int i = 0; i < 4 && k + i < in_c; ++i) {
      const float v = x[k + i] * scale, h = rintf(v);
      high[i] = (int16_t)h;
      low[i] = (int16_t)rintf((v - h) * 4094.f);
    }
    put_digits(tables, sums_of_4(high, -1) + (int16_t)OFFSET_F32, BITS_F32);
    put_digits(tables + 2 * HB_HALF_TABLE, sums_of_4(low, -1) + (int16_t)OFFSET_F32, BITS_F32);
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

// 32-bit totals of a block, kept apart by position modulo 4: unpacking is a shift or a mask.
typedef struct {
  vt part[4];
} totals;

HB_FN int32_t total_at(const totals *t, int i) { return ((const int32_t *)&t->part[i % 4])[i / 4]; }

// Adds weight * digit to the totals and clears the digit.
HB_FN void flush_digit(totals *t, digit_sums *s, int32_t weight) {
  const vt even = (vt)(s->both - (s->odd << 8)), odd = (vt)s->odd;
  t->part[0] += (even & 65535) * weight;
  t->part[1] += (odd & 65535) * weight;
  t->part[2] += (vt)((vu)even >> 16) * weight;
  t->part[3] += (vt)((vu)odd >> 16) * weight;
  *s = (digit_sums){{0}, {0}};
}

// Adds the digits of `many` <= AT_ONCE_S8 bytes of weights of every block to its sums.
HB_FN void add_bytes_s8(digit_sums s[HB_DENSE_BLOCKS][HB_DIGITS_S8],
                        const uint8_t *const at[HB_DENSE_BLOCKS], size_t k, const int many,
                        size_t ahead, const uint8_t *tables) {
  const vb low4 = (vb){0} + (uint8_t)15;
  vb a[HB_DENSE_BLOCKS][HB_DIGITS_S8];
  memset(a, 0, sizeof a);
  for (int j = 0; j < many; ++j, ++k) {
    const uint8_t *t = tables + k * 2 * HB_HALF_TABLE * HB_DIGITS_S8;
    vb index[2][HB_DENSE_BLOCKS];
    for (int b = 0; b < HB_DENSE_BLOCKS; ++b) {
      const vb w = *(const vb *)(at[b] + k * HB_VECTOR);
      if (j * HB_VECTOR % 64 == 0) __builtin_prefetch(at[b] + k * HB_VECTOR + ahead);
      index[0][b] = w & low4;
      index[1][b] = (w >> 4) & low4;
    }
    for (int half = 0; half < 2; ++half)
      for (int d = 0; d < HB_DIGITS_S8; ++d, t += HB_HALF_TABLE)
        for (int b = 0; b < HB_DENSE_BLOCKS; ++b) a[b][d] += pick(t, index[half][b]);
    // Compilers otherwise delay the additions until they run out of registers.
    for (int b = 0; b < HB_DENSE_BLOCKS; ++b)
      for (int d = 0; d < HB_DIGITS_S8; ++d) HB_HOLD(a[b][d]);
  }
  for (int b = 0; b < HB_DENSE_BLOCKS; ++b)
    for (int d = 0; d < HB_DIGITS_S8; ++d) widen_bytes(&s[b][d], a[b][d]);
}

// Totals of every block: sum over inputs with weight +1, plus OFFSET_S8 per group of 4. Several
// blocks at once share the loads of the tables, which outgrow the first-level cache for many
// inputs.
HB_FN void sums_s8(const uint8_t *const at[HB_DENSE_BLOCKS], int bytes, const uint8_t *tables,
                   totals total[HB_DENSE_BLOCKS]) {
  memset(total, 0, HB_DENSE_BLOCKS * sizeof *total);
  for (int k0 = 0; k0 < bytes; k0 += STEP_S8) {
    const int end = bytes - k0 < STEP_S8 ? bytes : k0 + STEP_S8;
    digit_sums s[HB_DENSE_BLOCKS][HB_DIGITS_S8];
    memset(s, 0, sizeof s);
    int k = k0;
    for (; k + AT_ONCE_S8 <= end; k += AT_ONCE_S8) {
      // Past the end of a block comes a block that is being read now; the next ones are further on.
      const int over = k + PREFETCH_BYTES / HB_VECTOR < bytes ? 0 : HB_DENSE_BLOCKS - 1;
      const size_t ahead = PREFETCH_BYTES + (size_t)(over * bytes) * HB_VECTOR;
      add_bytes_s8(s, at, (size_t)k, AT_ONCE_S8, ahead, tables);
    }
    for (; k < end; ++k) add_bytes_s8(s, at, (size_t)k, 1, PREFETCH_BYTES, tables);
    for (int b = 0; b < HB_DENSE_BLOCKS; ++b) {
      flush_digit(&total[b], &s[b][0], 1);
      flush_digit(&total[b], &s[b][1], 1 << BITS_S8);
    }
  }
}

// Results [first, first + many) of a block from its totals.
HB_FN void finish_s8(const hb_dense *d, const hb_requant *how, int first, int many,
                     const totals *total, int32_t x_sum, int8_t *y) {
  int32_t level_sum[HB_VECTOR] = {0}, magnitude[HB_VECTOR], bias[HB_VECTOR] = {0};
  float multiplier[HB_VECTOR] = {0};
  int32_t sum[HB_VECTOR];
  int8_t q[HB_VECTOR];
  const size_t bytes = (size_t)many * 4;
  for (int i = 0; i < HB_VECTOR; ++i) sum[i] = total_at(total, i), magnitude[i] = 1;
  memcpy(level_sum, d->level_sum + first, bytes);
  memcpy(multiplier, how->multiplier + first, bytes);
  if (how->magnitude) memcpy(magnitude, how->magnitude + first, bytes);
  if (how->bias) memcpy(bias, how->bias + first, bytes);
  const int32_t offset = (x_sum + OFFSET_S8 * 4 * ((d->in_c + 7) / 8)) * hb_top_level(d->bits);
  const hb_requant block = {how->in_zero, how->out_zero, how->lo,   how->hi,
                            bias,         magnitude,     multiplier};
  for (int i = 0; i < HB_VECTOR; ++i)
    q[i] = hb_requantise(2 * sum[i] - offset - how->in_zero * level_sum[i], i, &block);
  memcpy(y + first, q, (size_t)many);
}

// Horner's rule over the planes of a block: the totals so far, twice, and those of one more.
HB_FN void add_plane(totals *all, const totals *one, bool is_first) {
  if (is_first) memset(all, 0, sizeof *all);
  for (int i = 0; i < 4; ++i) all->part[i] = all->part[i] * 2 + one->part[i];
}

HB_TARGET static void HB_ISA(dense_s8)(const hb_dense *d, const hb_requant *how,
                                       const uint8_t *tables, int32_t x_sum, int8_t *y, int first,
                                       int last) {
  const int bytes = (d->in_c + 7) / 8, end = last * d->bits;
  totals all;
  for (int row = first * d->bits; row < end; row += HB_DENSE_BLOCKS) {  // planes of blocks
    const uint8_t *at[HB_DENSE_BLOCKS];
    totals total[HB_DENSE_BLOCKS];
    for (int b = 0; b < HB_DENSE_BLOCKS; ++b) {  // the last one again where there are no more
      const int present = row + b < end ? row + b : end - 1;
      at[b] = d->planes + (size_t)present * (size_t)bytes * HB_VECTOR;
    }
    sums_s8(at, bytes, tables, total);
    for (int b = 0; b < HB_DENSE_BLOCKS && row + b < end; ++b) {
      const int plane = (row + b) % d->bits, o = (row + b) / d->bits * HB_VECTOR;
      add_plane(&all, &total[b], plane == 0);
      if (plane < d->bits - 1) continue;
      finish_s8(d, how, o, d->out_c - o < HB_VECTOR ? d->out_c - o : HB_VECTOR, &all, x_sum, y);
    }
  }
}

// Adds the digits of one byte of weights to their sums: 2 byte additions, of at most 127 each.
HB_FN void add_byte_f32(digit_sums s[HB_DIGITS_F32], const uint8_t *at, const uint8_t *tables) {
  const vb low4 = (vb){0} + (uint8_t)15;
  __builtin_prefetch(at + PREFETCH_BYTES);
  const vb w = *(const vb *)at, first = w & low4, second = (w >> 4) & low4;
  for (int d = 0; d < HB_DIGITS_F32; ++d)
    widen_bytes(&s[d], pick(tables + HB_HALF_TABLE * d, first) +
                           pick(tables + HB_HALF_TABLE * (HB_DIGITS_F32 + d), second));
}

// high and low: signed sums of the two planes, plus OFFSET_F32 per group of 4.
HB_FN void sums_f32(const uint8_t *bits, int bytes, const uint8_t *tables, totals *high,
                    totals *low) {
  memset(high, 0, sizeof *high);
  memset(low, 0, sizeof *low);
  for (int k0 = 0; k0 < bytes; k0 += STEP_F32) {
    const int end = bytes - k0 < STEP_F32 ? bytes : k0 + STEP_F32;
    digit_sums s[HB_DIGITS_F32];
    memset(s, 0, sizeof s);
    for (int k = k0; k < end; ++k)
      add_byte_f32(s, bits + (size_t)k * HB_VECTOR,
                   tables + (size_t)k * 2 * HB_HALF_TABLE * HB_DIGITS_F32);
    flush_digit(high, &s[0], 1);
    flush_digit(high, &s[1], 1 << BITS_F32);
    flush_digit(low, &s[2], 1);
    flush_digit(low, &s[3], 1 << BITS_F32);
  }
}

// unit: what one step of the upper plane stands for.
HB_TARGET static void HB_ISA(dense_f32)(const hb_dense *d, const hb_scale *how,
                                        const uint8_t *tables, float unit, float *y, int first,
                                        int last) {
  const int bytes = (d->in_c + 7) / 8, offset = OFFSET_F32 * 2 * bytes * hb_top_level(d->bits);
  for (int block = first; block < last; ++block) {
    totals high, low, one, more;
    for (int plane = 0; plane < d->bits; ++plane) {
      const size_t row = (size_t)block * (size_t)d->bits + (size_t)plane;
      sums_f32(d->planes + row * (size_t)bytes * HB_VECTOR, bytes, tables, &one, &more);
      add_plane(&high, &one, plane == 0);
      add_plane(&low, &more, plane == 0);
    }
    for (int i = 0, o = block * HB_VECTOR; i < HB_VECTOR && o < d->out_c; ++i, ++o) {
      const float sum =
          (float)(total_at(&high, i) - offset) + (float)(total_at(&low, i) - offset) * (1 / 4094.f);
      y[o] = hb_rescale(sum * unit, o, how);
    }
  }
}
