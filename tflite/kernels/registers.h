// Convolution of int8 activations with tables in registers: what packing, planning and running
// share.
#ifndef HB_REGISTERS_H
#define HB_REGISTERS_H

#include "internal.h"

// A table holds the 32 sums over HB_GROUP input channels of one pixel as uint16, in one register of
// 64 bytes, and is looked up by 32 output channels at once. Three indices share a 16-bit word.
enum { HB_TABLE = 64, HB_VECTOR_OUTPUTS = 32, HB_INDEX_BITS = 5, HB_PER_WORD = 3 };
// Additions of sums of 5 bytes that uint16 takes, and tables of one pixel and block at most.
enum { HB_ADDITIONS = 51, HB_BLOCK_TABLES = 24 };
_Static_assert(HB_TABLE == HB_ENTRIES * sizeof(uint16_t), "a table is one register");
_Static_assert(HB_ENTRIES <= 1 << HB_INDEX_BITS && HB_PER_WORD * HB_INDEX_BITS <= 16, "an index");
_Static_assert(HB_ADDITIONS *HB_GROUP * 255 <= UINT16_MAX, "sums of a block fit 16 bits");

// How the groups of a filter are cut into blocks whose sums fit 16 bits.
typedef struct {
  int groups, per_block, blocks;
  int vectors;  // of HB_VECTOR_OUTPUTS output channels
} hb_register_shape;
hb_register_shape hb_registers_of(const hb_conv *c);

static inline int hb_groups_in(const hb_register_shape *s, int block) {
  const int left = s->groups - block * s->per_block;
  return left < s->per_block ? left : s->per_block;
}
// Words of one vector in a block: look-ups, tap by tap, in threes.
static inline int hb_words_in(const hb_conv *c, const hb_register_shape *s, int block) {
  return (c->k_h * c->k_w * hb_groups_in(s, block) + HB_PER_WORD - 1) / HB_PER_WORD;
}
// Which output channel of a vector lane l adds up.
static inline int hb_lane_output(int l) { return l % 2 * 16 + l / 2; }

extern const hb_method hb_registers_s8;  // registers_avx512.c

bool hb_registers_take(const hb_conv *c);
bool hb_registers_pack(hb_conv *c, const uint8_t *codes);
void hb_registers_unpack(const hb_conv *c, uint8_t *codes);
bool hb_registers_plan(hb_plan *p, const hb_conv *c, int threads);
#endif
