// Shared by the files of this folder; what others need of it is in services.h.
#ifndef HB_INTERNAL_H
#define HB_INTERNAL_H

#include <math.h>
#include <stdbool.h>

#include "services.h"

// What a CPU may have beyond its architecture's least; a set of isa.inc needs some of them.
enum {
  HB_AVX2 = 1 << 0,    // and FMA
  HB_AVX512 = 1 << 1,  // F, BW, DQ and VL
  HB_AVX512_VBMI = 1 << 2,
  HB_AVX512_VNNI = 1 << 3,
  HB_AVX_VNNI = 1 << 4,  // 32-byte dot products
  HB_ASIMDDP = 1 << 5,   // SDOT and UDOT
  HB_I8MM = 1 << 6,
};

// A table holds the 2^HB_GROUP signed sums of HB_GROUP activations for one lane block of
// HB_LANE_BYTES (16 float or 32 int16 pixels); HB_BLOCK tables (16 KB) stay in the first-level
// cache while every output channel looks its sums up.
enum { HB_GROUP = 5, HB_ENTRIES = 32, HB_LANE_BYTES = 64, HB_BLOCK = 8, HB_CHANNELS = 4 };
enum { HB_LANES_F32 = 16, HB_LANES_S8 = 32, HB_INDEX_UNIT = 8 };

_Static_assert(HB_ENTRIES == 1 << HB_GROUP, "an entry for every choice of signs");
_Static_assert((HB_ENTRIES - 1) * HB_INDEX_UNIT <= UINT8_MAX, "an index is a byte");
_Static_assert(HB_LANE_BYTES % HB_INDEX_UNIT == 0, "a look-up scales the index byte");
_Static_assert(HB_LANES_F32 * sizeof(float) == HB_LANE_BYTES, "a lane block of float sums");
_Static_assert(HB_LANES_S8 * sizeof(int16_t) == HB_LANE_BYTES, "a lane block of int16 sums");
_Static_assert(HB_BLOCK *HB_GROUP * 255 <= INT16_MAX, "one block cannot overflow int16 sums");

// Dense tables: for each half byte of weights 16 bytes a digit, digits as dense_lut.h has them.
enum { HB_HALF_TABLE = 16, HB_DIGITS_F32 = 4, HB_DIGITS_S8 = 2 };
_Static_assert(HB_HALF_TABLE == 1 << 4, "an entry for every half byte of weights");

// CPU cycles of work that one thread does sooner than several: sharing costs as much. Sanitizer
// builds set 0, here and below, so that every shape goes the longer way.
#ifndef HB_ALONE
#define HB_ALONE 30000
#endif
// Bytes of an image and its result beyond which both are fetched ahead: a quarter of a small
// second-level cache.
#ifndef HB_FAR
#define HB_FAR (1 << 17)
#endif

// How far the sums of an output row in progress have come.
typedef struct {
  int pending;   // largest magnitude the int16 sums may have reached
  int has_sums;  // sums hold something
  int has_wide;  // wide sums hold something
} hb_slot;

// An output row in progress that reads the input row at hand, by row `ky` of the kernel.
typedef struct {
  int slot, ky;
} hb_row_use;

// Where everything lies in one thread's workspace, in bytes from its start.
typedef struct {
  size_t tables;   // [HB_BLOCK][HB_ENTRIES] lane blocks
  size_t row;      // packed input row: a lane block per row element
  size_t sums;     // [slots][out_padded] lane blocks of float or int16
  size_t wide;     // the same as int32
  size_t results;  // [out_padded] lane blocks: requantised
  size_t columns;  // int64_t [k_w][lanes]: where each lane reads in its row
  size_t state;    // hb_slot [slots]
  size_t uses;     // hb_row_use [slots]
  size_t padding;  // float [in_c]: a pixel of it
  size_t bytes;
} hb_layout;

// What a tile of lanes does, worked out from the geometry before anything runs. A lane is one
// column of output pixels: batch b, rows [segment * steps, + steps), column x.
typedef struct {
  hb_conv_geometry g;
  int lanes;     // per tile
  int threads;   // 1, or as many as were offered
  int segments;  // vertical pieces each image is cut into
  int steps;     // output rows per lane
  int tiles;     // tiles of lanes in all
  int slots;     // output rows that are unfinished at the same time
  int64_t lane_count;
  int row_elems;   // k_w * in_c
  int groups;      // of HB_GROUP row elements
  int out_padded;  // out_c rounded up to 8
  bool is_far;     // worth fetching ahead
  hb_layout at;    // of one thread
} hb_plan;

struct hb_kernels;
struct hb_conv {
  int out_c, k_h, k_w, in_c;
  int row_elems, groups, out_padded;
  const struct hb_kernels *kernels;
  size_t index_bytes;
  uint8_t *index;  // [k_h][block][out_padded / 4][groups in block][4], each pattern * HB_INDEX_UNIT
};
struct hb_dense {
  int out_c, in_c;
  const struct hb_kernels *kernels;
  int outputs_per_block;
  size_t bit_bytes;
  uint8_t *bits;      // [block][ceil(in_c / 8)][outputs_per_block], bit k = +1
  int32_t *sign_sum;  // [out_c]: weights of +1 less weights of -1
};

// The conv entry points run tiles [first, last) of a plan on one thread's workspace. The Dense ones
// are NULL where the instruction set has no byte look-up.
typedef struct hb_kernels {
  const char *name;
  int dense_block;  // outputs per block of hb_dense.bits
  void (*conv_f32)(const hb_conv *, const hb_plan *, const hb_scale *, const float *, float *,
                   char *, int, int);
  void (*conv_s8)(const hb_conv *, const hb_plan *, const hb_requant *, const int8_t *, int8_t *,
                  char *, int, int);
  void (*dense_tables_f32)(const float *, int, float, uint8_t *);
  void (*dense_tables_s8)(const int8_t *, int, uint8_t *);
  // Blocks [first, last) from the tables of an input row.
  void (*dense_f32)(const hb_dense *, const hb_scale *, const uint8_t *, float, float *, int, int);
  void (*dense_s8)(const hb_dense *, const hb_requant *, const uint8_t *, int32_t, int8_t *, int,
                   int);
} hb_kernels;

#define HB_SET(name, features) extern const hb_kernels hb_kernels_##name;
#include "isa.inc"
#undef HB_SET
const hb_kernels *hb_pick(void);

bool hb_plan_make(hb_plan *p, const hb_conv *conv, const hb_conv_geometry *g, int lanes,
                  int threads);
// Runs task(arg, thread, i) for i in [0, count), shared out over the pool.
void hb_pool_run(hb_pool *pool, int count, void (*task)(void *, int, int), void *arg);

// q = clamp(rint((sum * magnitude + bias) * multiplier) + out_zero); see hb_requant.
static inline int8_t hb_requantise(int32_t sum, int n, const hb_requant *how) {
  const uint32_t scaled = (uint32_t)sum * (uint32_t)(how->magnitude ? how->magnitude[n] : 1);
  const int32_t biased = (int32_t)(scaled + (uint32_t)(how->bias ? how->bias[n] : 0));
  float v = (float)biased * how->multiplier[n];
  const float lo = (float)(how->lo - how->out_zero), hi = (float)(how->hi - how->out_zero);
  v = v > lo ? v : lo;
  v = v < hi ? v : hi;
  return (int8_t)((int)rintf(v) + how->out_zero);
}

// clamp(sum * alpha + bias); see hb_scale.
static inline float hb_rescale(float sum, int n, const hb_scale *how) {
  float v = sum * how->alpha[n] + (how->bias ? how->bias[n] : 0);
  v = v < how->lo ? how->lo : v;
  return v > how->hi ? how->hi : v;
}

static inline size_t hb_round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
#endif
