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
  HB_WIDE_LOADS = 1 << 7,     // two loads of 64 bytes a cycle
  HB_FAST_PERMUTES = 1 << 8,  // a permutation of 64 bytes a cycle
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
  size_t sums;     // [slots][rows] lane blocks of float or int16
  size_t wide;     // the same as int32
  size_t results;  // [out_padded] lane blocks: requantised
  size_t columns;  // int64_t [k_w][lanes]: where each lane reads in its row
  size_t state;    // hb_slot [slots]
  size_t uses;     // hb_row_use [slots]
  size_t padding;  // float [in_c]: a pixel of it
} hb_layout;

// The same for convolutions with tables in registers (conv_registers.h), and how results are cut
// into tiles: strips of `width` columns, pieces of `rows` rows.
typedef struct {
  int strips, width, pieces, rows;
  int ring;                            // input rows that have tables at the same time
  int steps;                           // look-ups of a block, at most
  size_t tables;                       // [ring][columns][groups of a block] registers
  size_t sums;                         // int32 [rows][width][outputs], between blocks
  size_t bias, magnitude, multiplier;  // [outputs], padded to whole vectors
  size_t pixel_sums;                   // int32 [input rows][columns]
  size_t windows;                      // int32 [rows][width]
  size_t offsets;                      // int32 [ring][steps]: of tables
  size_t border;                       // a pixel of padding
  size_t bounce;                       // a pixel that may not be read beyond
} hb_register_plan;

// A weight of n bits is a sum of n signs, plane 0 counting most: sum of 2^(n - 1 - k) * sign k.
// Sums of planes are therefore added by Horner's rule, and those of one bit are what they are.
static inline int hb_sign_bit(int code, int bits, int plane) {
  return code >> (bits - 1 - plane) & 1;
}

// How a convolution runs, worked out from the geometry before anything does: `tiles` pieces of work
// that any thread may do with a workspace of `bytes` bytes of its own.
typedef struct {
  hb_conv_geometry g;
  int threads;  // 1, or as many as were offered
  int tiles;
  size_t bytes;
  // Tables in memory (conv_lut.h). A lane is one column of output pixels: batch b, rows
  // [segment * steps, + steps), column x.
  int lanes;     // per tile
  int segments;  // vertical pieces each image is cut into
  int steps;     // output rows per lane
  int slots;     // output rows that are unfinished at the same time
  int64_t lane_count;
  int row_elems;         // k_w * in_c
  int groups;            // of HB_GROUP row elements
  int bits, out_padded;  // of a weight; out_c rounded up to 8
  int rows;              // of sums: out_padded for each plane of bits
  bool is_far;           // worth fetching ahead
  hb_layout at;
  hb_register_plan registers;  // tables in registers
} hb_plan;

// One way to compute convolutions.
typedef struct {
  bool (*takes)(const hb_conv *);                   // whether it can, and is worth it
  bool (*pack)(hb_conv *, const uint8_t *codes);    // fills index and index_bytes
  void (*unpack)(const hb_conv *, uint8_t *codes);  // the codes again
  bool (*plan)(hb_plan *, const hb_conv *, int threads);
  // One tile of a plan on one thread's workspace; hb_scale or hb_requant says how results are
  // formed.
  void (*run)(const hb_conv *, const hb_plan *, const void *how, const void *x, void *y,
              char *memory, int tile);
} hb_method;

struct hb_conv {
  hb_type type;
  int out_c, k_h, k_w, in_c, dilation_h, dilation_w;
  int bits;  // of a weight
  int row_elems, groups;
  int out_padded, rows;  // out_c rounded up to 8; that for each plane of bits
  const hb_method *method;
  size_t index_bytes;
  uint8_t *index;      // weights as the method packs them
  int32_t *level_sum;  // tables in registers: within index
};
struct hb_kernels;
struct hb_dense {
  int out_c, in_c, bits;
  const struct hb_kernels *kernels;
  int outputs_per_block;
  size_t plane_bytes;
  uint8_t *planes;     // [block][plane][ceil(in_c / 8)][outputs_per_block], bit k = +1
  int32_t *level_sum;  // [out_c]: of the weights in units of alpha
};

// Dense members are NULL where the instruction set has no byte look-up.
enum { HB_METHODS = 2 };
typedef struct hb_kernels {
  const char *name;
  const hb_method *conv[2][HB_METHODS];  // by hb_type, the first that takes a filter; the last must
  int dense_block;                       // outputs per block of hb_dense.planes
  void (*dense_tables_f32)(const float *, int, float, uint8_t *);
  void (*dense_tables_s8)(const int8_t *, int, uint8_t *);
  // Blocks [first, last) from the tables of an input row.
  void (*dense_f32)(const hb_dense *, const hb_scale *, const uint8_t *, float, float *, int, int);
  void (*dense_s8)(const hb_dense *, const hb_requant *, const uint8_t *, int32_t, int8_t *, int,
                   int);
} hb_kernels;

#define HB_SET(name, needs, wants) extern const hb_kernels hb_kernels_##name;
#include "isa.inc"
#undef HB_SET
const hb_kernels *hb_pick(void);

// False with hb_error set where the geometry is refused.
bool hb_plan_make(hb_plan *p, const hb_conv *conv, const hb_conv_geometry *g, int threads);
// For methods: room in a workspace for count * size bytes, from a multiple of 64 bytes on; and
// whether all of it can be had.
size_t hb_place(uint64_t *end, int64_t count, size_t size);
bool hb_plan_fits(hb_plan *p, uint64_t end);

// Tables in memory, but for running them.
bool hb_lut_takes(const hb_conv *c);
bool hb_lut_pack(hb_conv *c, const uint8_t *codes);
void hb_lut_unpack(const hb_conv *c, uint8_t *codes);
bool hb_lut_plan(hb_plan *p, const hb_conv *c, int threads);

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
