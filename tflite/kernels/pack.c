// From weight bits to the index bytes and bit blocks the kernels read.
#include "internal.h"

#include <stdlib.h>
#include <string.h>

static bool filter_ok(int out_c, int k_h, int k_w, int in_c) {
  if (out_c < 1 || k_h < 1 || k_w < 1 || in_c < 1 || out_c > 1 << 20 || k_h > 1 << 12 ||
      k_w > 1 << 12 || in_c > 1 << 24) {
    hb_fail("a filter of %dx%dx%dx%d is outside what the kernels take", out_c, k_h, k_w, in_c);
    return false;
  }
  // 2^23 weights of 255 are the most an int32 sum holds.
  const int64_t per_output = (int64_t)k_h * k_w * in_c;
  if (per_output > 1 << 23 || per_output > INT32_MAX / 4 / out_c) {
    hb_fail("a filter of %dx%dx%dx%d has too many weights", out_c, k_h, k_w, in_c);
    return false;
  }
  return true;
}

// The bits of one group of row elements, as the byte that a look-up scales to a table entry.
static uint8_t pattern(const uint8_t *row, int first, int row_elems) {
  unsigned p = 0;
  for (int i = 0; i < HB_GROUP && first + i < row_elems; ++i)
    p |= (unsigned)(row[first + i] != 0) << i;
  return (uint8_t)(p * HB_INDEX_UNIT);
}

// Where the index byte of kernel row ky, group g and output n lies.
static size_t index_at(const hb_conv *c, int ky, int g, int n) {
  const int g0 = g / HB_BLOCK * HB_BLOCK;
  const int in_block = c->groups - g0 < HB_BLOCK ? c->groups - g0 : HB_BLOCK;
  const size_t row = (size_t)ky * (size_t)c->groups + (size_t)g0;
  return row * (size_t)c->out_padded + (size_t)(n / HB_CHANNELS * in_block + g - g0) * HB_CHANNELS +
         (size_t)(n % HB_CHANNELS);
}

static void pack_indices(const hb_conv *c, const uint8_t *bits) {
  memset(c->index, 0, c->index_bytes);
  for (int n = 0; n < c->out_c; ++n)
    for (int ky = 0; ky < c->k_h; ++ky, bits += c->row_elems)
      for (int g = 0; g < c->groups; ++g)
        c->index[index_at(c, ky, g, n)] = pattern(bits, g * HB_GROUP, c->row_elems);
}

void hb_conv_bits(const hb_conv *c, uint8_t *bits) {
  for (int n = 0; n < c->out_c; ++n)
    for (int ky = 0; ky < c->k_h; ++ky)
      for (int k = 0; k < c->row_elems; ++k)
        *bits++ = c->index[index_at(c, ky, k / HB_GROUP, n)] / HB_INDEX_UNIT >> k % HB_GROUP & 1;
}

hb_conv *hb_conv_create(int out_c, int k_h, int k_w, int in_c, const uint8_t *bits) {
  if (!filter_ok(out_c, k_h, k_w, in_c)) return NULL;
  hb_conv *c = calloc(1, sizeof *c);
  if (!c) return hb_fail("no memory for a convolution"), NULL;
  c->out_c = out_c;
  c->k_h = k_h;
  c->k_w = k_w;
  c->in_c = in_c;
  c->row_elems = k_w * in_c;
  c->groups = (c->row_elems + HB_GROUP - 1) / HB_GROUP;
  c->out_padded = (int)hb_round_up((size_t)out_c, 8);
  c->kernels = hb_pick();
  c->index_bytes = (size_t)k_h * (size_t)c->groups * (size_t)c->out_padded;
  c->index = hb_alloc(c->index_bytes);
  if (!c->index) return free(c), NULL;
  pack_indices(c, bits);
  return c;
}

void hb_conv_destroy(hb_conv *c) {
  if (!c) return;
  free(c->index);
  free(c);
}

size_t hb_conv_weight_bytes(const hb_conv *c) { return c->index_bytes; }
