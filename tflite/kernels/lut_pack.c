// From codes of weights to the index bytes that look-ups in memory read.
#include <string.h>

#include "internal.h"

// One plane of the codes of one group of row elements, as the byte that a look-up scales to a table
// entry.
static uint8_t pattern(const uint8_t *row, int first, int row_elems, int bits, int plane) {
  unsigned p = 0;
  for (int i = 0; i < HB_GROUP && first + i < row_elems; ++i)
    p |= (unsigned)hb_sign_bit(row[first + i], bits, plane) << i;
  return (uint8_t)(p * HB_INDEX_UNIT);
}

// Where the index byte of kernel row ky, group g and row n of sums lies.
static size_t index_at(const hb_conv *c, int ky, int g, int n) {
  const int g0 = g / HB_BLOCK * HB_BLOCK;
  const int in_block = c->groups - g0 < HB_BLOCK ? c->groups - g0 : HB_BLOCK;
  const size_t row = (size_t)ky * (size_t)c->groups + (size_t)g0;
  return row * (size_t)c->rows + (size_t)(n / HB_CHANNELS * in_block + g - g0) * HB_CHANNELS +
         (size_t)(n % HB_CHANNELS);
}

bool hb_lut_takes(const hb_conv *c) {
  (void)c;
  return true;
}

// [k_h][block][rows / 4][groups in block][4], each pattern * HB_INDEX_UNIT
bool hb_lut_pack(hb_conv *c, const uint8_t *codes) {
  c->index_bytes = (size_t)c->k_h * (size_t)c->groups * (size_t)c->rows;
  c->index = hb_alloc(c->index_bytes);
  if (!c->index) return false;
  memset(c->index, 0, c->index_bytes);
  for (int n = 0; n < c->out_c; ++n)
    for (int ky = 0; ky < c->k_h; ++ky, codes += c->row_elems)
      for (int plane = 0; plane < c->bits; ++plane)
        for (int g = 0; g < c->groups; ++g)
          c->index[index_at(c, ky, g, plane * c->out_padded + n)] =
              pattern(codes, g * HB_GROUP, c->row_elems, c->bits, plane);
  return true;
}

void hb_lut_unpack(const hb_conv *c, uint8_t *codes) {
  for (int n = 0; n < c->out_c; ++n)
    for (int ky = 0; ky < c->k_h; ++ky)
      for (int k = 0; k < c->row_elems; ++k, ++codes) {
        *codes = 0;
        for (int plane = 0; plane < c->bits; ++plane) {
          const size_t at = index_at(c, ky, k / HB_GROUP, plane * c->out_padded + n);
          *codes = (uint8_t)(*codes << 1 | (c->index[at] / HB_INDEX_UNIT >> k % HB_GROUP & 1));
        }
      }
}
