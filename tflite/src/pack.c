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

// The bits of one group of row elements, as the byte a look-up scales by 8: pattern * 8.
static uint8_t pattern(const uint8_t *row, int first, int row_elems) {
  unsigned p = 0;
  for (int i = 0; i < HB_GROUP && first + i < row_elems; ++i) p |= (unsigned)(row[first + i] != 0) << i;
  return (uint8_t)(p * 8);
}

static void pack_indices(const hb_conv *c, const uint8_t *bits) {
  uint8_t *out = c->index;
  for (int ky = 0; ky < c->k_h; ++ky)
    for (int g0 = 0; g0 < c->groups; g0 += HB_BLOCK) {
      const int end = g0 + HB_BLOCK < c->groups ? g0 + HB_BLOCK : c->groups;
      for (int n0 = 0; n0 < c->out_padded; n0 += HB_CHANNELS)
        for (int g = g0; g < end; ++g)
          for (int n = n0; n < n0 + HB_CHANNELS; ++n) {
            const uint8_t *row = bits + ((size_t)n * c->k_h + ky) * c->row_elems;
            *out++ = n < c->out_c ? pattern(row, g * HB_GROUP, c->row_elems) : 0;
          }
    }
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
