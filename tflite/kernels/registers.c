// Packing and planning for convolutions with tables in registers.
#include "registers.h"

#include <stdlib.h>
#include <string.h>

// Output channels from which building tables pays: of kernels, whose taps share them, and of 1x1.
// Tests set 1.
#ifndef HB_REGISTERS_FROM
#define HB_REGISTERS_FROM 64
#define HB_REGISTERS_FROM_1X1 512
#else
#define HB_REGISTERS_FROM_1X1 HB_REGISTERS_FROM
#endif
// Bytes of tables that stay in the first-level cache, and of what is kept between blocks in the
// second.
enum { TABLE_BYTES = 24 << 10, KEPT_BYTES = 256 << 10, MOST_COLUMNS = 16, MOST_DILATION = 4 };

static int divide_up(int64_t a, int64_t b) { return (int)((a + b - 1) / b); }
static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

bool hb_registers_take(const hb_conv *c) {
  const int taps = c->k_h * c->k_w;
  return c->bits == 1 && taps <= HB_ADDITIONS &&
         c->out_c >= (taps > 1 ? HB_REGISTERS_FROM : HB_REGISTERS_FROM_1X1) &&
         c->dilation_h <= MOST_DILATION && c->dilation_w <= MOST_DILATION;
}

hb_register_shape hb_registers_of(const hb_conv *c) {
  hb_register_shape s = {.groups = divide_up(c->in_c, HB_GROUP),
                         .vectors = divide_up(c->out_c, HB_VECTOR_OUTPUTS)};
  const int largest = (int)least(HB_ADDITIONS / (c->k_h * c->k_w), HB_BLOCK_TABLES);
  s.per_block = divide_up(s.groups, divide_up(s.groups, largest));
  s.blocks = divide_up(s.groups, s.per_block);
  return s;
}

// Where entry p of a table lies: building packs 32-bit sums in pairs of 128-bit quarters.
static int entry_at(int p) { return 8 * (p % 16 / 4) + 4 * (p / 16) + p % 4; }

static int entry_of(int at) { return at / 8 * 4 + at / 4 % 2 * 16 + at % 4; }

// The word and the shift of look-up `step` of lane l of a vector, in words from the block's start.
static size_t word_at(int words, int vector, int step, int l) {
  return ((size_t)vector * (size_t)words + (size_t)(step / HB_PER_WORD)) * HB_VECTOR_OUTPUTS +
         (size_t)l;
}

static size_t block_words(const hb_conv *c, const hb_register_shape *s, int block) {
  return (size_t)s->vectors * (size_t)hb_words_in(c, s, block) * HB_VECTOR_OUTPUTS;
}

// Calls each(arg, word, shift, first weight, weights) for every look-up of every output channel.
static void for_each_look_up(const hb_conv *c, uint16_t *words,
                             void (*each)(uint16_t *word, int shift, size_t first, int count,
                                          void *arg),
                             void *arg) {
  const hb_register_shape s = hb_registers_of(c);
  const int taps = c->k_h * c->k_w;
  for (int b = 0; b < s.blocks; words += block_words(c, &s, b), ++b) {
    const int in_block = hb_groups_in(&s, b), length = hb_words_in(c, &s, b);
    for (int v = 0; v < s.vectors; ++v)
      for (int step = 0; step < taps * in_block; ++step)
        for (int l = 0; l < HB_VECTOR_OUTPUTS; ++l) {
          const int o = v * HB_VECTOR_OUTPUTS + hb_lane_output(l);
          const int input = (b * s.per_block + step % in_block) * HB_GROUP;
          const size_t first =
              ((size_t)o * (size_t)taps + (size_t)(step / in_block)) * (size_t)c->in_c +
              (size_t)input;
          if (o < c->out_c)
            each(words + word_at(length, v, step, l), step % HB_PER_WORD * HB_INDEX_BITS, first,
                 (int)least(HB_GROUP, c->in_c - input), arg);
        }
  }
}

static void put_index(uint16_t *word, int shift, size_t first, int count, void *codes) {
  int p = 0;
  for (int i = 0; i < count; ++i) p |= ((const uint8_t *)codes)[first + (size_t)i] << i;
  *word |= (uint16_t)(entry_at(p) << shift);
}

static void get_codes(uint16_t *word, int shift, size_t first, int count, void *codes) {
  const int p = entry_of(*word >> shift & (HB_ENTRIES - 1));
  for (int i = 0; i < count; ++i) ((uint8_t *)codes)[first + (size_t)i] = p >> i & 1;
}

bool hb_registers_pack(hb_conv *c, const uint8_t *codes) {
  const hb_register_shape s = hb_registers_of(c);
  const size_t per_output = (size_t)c->k_h * (size_t)c->k_w * (size_t)c->in_c;
  size_t words = 0;
  for (int b = 0; b < s.blocks; ++b) words += block_words(c, &s, b);
  const size_t outputs = (size_t)s.vectors * HB_VECTOR_OUTPUTS;
  c->index_bytes = words * sizeof(uint16_t) + outputs * sizeof(int32_t);
  c->index = hb_alloc(c->index_bytes);
  if (!c->index) return false;
  memset(c->index, 0, c->index_bytes);
  c->level_sum = (int32_t *)(c->index + words * sizeof(uint16_t));
  for (int o = 0; o < c->out_c; ++o)
    for (size_t k = 0; k < per_output; ++k)
      c->level_sum[o] += codes[(size_t)o * per_output + k] ? 1 : -1;
  for_each_look_up(c, (uint16_t *)c->index, put_index, (void *)codes);
  return true;
}

void hb_registers_unpack(const hb_conv *c, uint8_t *codes) {
  for_each_look_up(c, (uint16_t *)c->index, get_codes, codes);
}

// Columns of tables that `width` output columns look at.
static int64_t table_columns(const hb_plan *p, int width) {
  return (int64_t)(width - 1) * p->g.stride_w + (int64_t)(p->g.k_w - 1) * p->g.dilation_w + 1;
}

static int64_t input_rows(const hb_plan *p, int rows) {
  return (int64_t)(rows - 1) * p->g.stride_h + p->registers.ring;
}

// Bytes that stay while the blocks of a tile are gone through.
static int64_t kept_bytes(const hb_plan *p, const hb_register_shape *s, int rows) {
  const int64_t sums = s->blocks > 1 ? (int64_t)rows * p->registers.width * s->vectors * 128 : 0;
  return sums + input_rows(p, rows) * table_columns(p, p->registers.width) * 4;
}

static void choose_width(hb_plan *p, const hb_register_shape *s) {
  hb_register_plan *r = &p->registers;
  const int64_t column = (int64_t)r->ring * s->per_block * HB_TABLE;
  int width = (int)least(p->g.out_w, MOST_COLUMNS);
  while (width > 4 && table_columns(p, width) * column > TABLE_BYTES) --width;
  while (width > 1 && table_columns(p, width) * column > KEPT_BYTES) --width;
  r->strips = divide_up(p->g.out_w, width);
  r->width = divide_up(p->g.out_w, r->strips);
}

static void choose_rows(hb_plan *p, const hb_register_shape *s) {
  hb_register_plan *r = &p->registers;
  r->rows = p->g.out_h;
  while (r->rows > 1 && kept_bytes(p, s, r->rows) > KEPT_BYTES) r->rows = divide_up(r->rows, 2);
  while (r->rows > 4 &&
         (int64_t)p->g.batch * r->strips * divide_up(p->g.out_h, r->rows) < 2 * p->threads &&
         p->threads > 1)
    r->rows = divide_up(r->rows, 2);
  r->pieces = divide_up(p->g.out_h, r->rows);
}

bool hb_registers_plan(hb_plan *p, const hb_conv *c, int threads) {
  const hb_register_shape s = hb_registers_of(c);
  hb_register_plan *r = &p->registers;
  const hb_conv_geometry *g = &p->g;
  r->ring = (g->k_h - 1) * g->dilation_h + 1;
  const double look_ups =
      (double)g->batch * g->out_h * g->out_w * g->k_h * g->k_w * s.groups * s.vectors;
  p->threads = look_ups < HB_ALONE ? 1 : threads;
  choose_width(p, &s);
  choose_rows(p, &s);
  p->tiles = (int)most(1, (int64_t)g->batch * r->strips * r->pieces);
  const int64_t columns = table_columns(p, r->width),
                outputs = (int64_t)s.vectors * HB_VECTOR_OUTPUTS;
  const int64_t pixels = (int64_t)r->rows * r->width;
  uint64_t end = 0;
  r->tables = hb_place(&end, r->ring * columns * s.per_block, HB_TABLE);
  r->sums = hb_place(&end, s.blocks > 1 ? pixels * outputs : 0, sizeof(int32_t));
  r->bias = hb_place(&end, outputs, sizeof(int32_t));
  r->magnitude = hb_place(&end, outputs, sizeof(int32_t));
  r->multiplier = hb_place(&end, outputs, sizeof(float));
  r->pixel_sums = hb_place(&end, input_rows(p, r->rows) * columns, sizeof(int32_t));
  r->windows = hb_place(&end, pixels, sizeof(int32_t));
  r->steps = HB_PER_WORD * hb_words_in(c, &s, 0);
  r->offsets = hb_place(&end, (int64_t)r->ring * r->steps, sizeof(int32_t));
  r->border = hb_place(&end, (int64_t)s.per_block * HB_GROUP + 8, 1);
  r->bounce = hb_place(&end, (int64_t)s.per_block * HB_GROUP + 8, 1);
  return hb_plan_fits(p, end);
}
