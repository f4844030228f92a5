// Convolution by look-up-table addition, for one instruction set. The including file defines
//   HB_VECTOR  bytes of a vector register            HB_TARGET  target attribute, or nothing
//   HB_ISA(x)  x with the instruction set's suffix
// and the functions pack_f32, pack_s8, reach_s16, store_f32, store_s8 (see kernels_portable.c for
// what they do).
//
// For every group of 5 row elements (kernel column, input channel) the 32 signed sums of their
// activations are tabulated for a whole vector of pixels ("lanes"); each output channel then adds
// one table entry per 5 weights. A table belongs to an input row, so all kernel rows that cross
// that row share it: output rows in progress are kept in `slots`.
#include <string.h>

_Static_assert(HB_GROUP == 5, "HB_BUILD writes out five rows");
_Static_assert(HB_CHANNELS == 4, "HB_LOOK_UP loads the index bytes of four channels at once");
_Static_assert(HB_LANE_BYTES % HB_VECTOR == 0, "a lane block is whole vectors");

#define HB_FN static inline __attribute__((always_inline)) HB_TARGET
enum { VECTORS = HB_LANE_BYTES / HB_VECTOR };
typedef float vf __attribute__((vector_size(HB_VECTOR), may_alias));
typedef int16_t vs __attribute__((vector_size(HB_VECTOR), may_alias));

typedef struct {
  char *tables, *row, *sums;
  int32_t *wide;
  char *results;
  int64_t *columns;
  hb_slot *state;
  hb_row_use *uses;
  char *padding;
} workspace;

HB_FN workspace carve(char *p, const hb_layout *at) {
  return (workspace){p + at->tables,
                     p + at->row,
                     p + at->sums,
                     (int32_t *)(p + at->wide),
                     p + at->results,
                     (int64_t *)(p + at->columns),
                     (hb_slot *)(p + at->state),
                     (hb_row_use *)(p + at->uses),
                     p + at->padding};
}

// All 32 sums of 5 rows of lanes, entry p = sum of (bit i of p ? +row[i] : -row[i]).
#define HB_BUILD(NAME, V)                                                                         \
  HB_FN void NAME(char *table, const char *row, int groups) {                                     \
    for (int g = 0; g < groups;                                                                   \
         ++g, row += HB_GROUP * HB_LANE_BYTES, table += HB_ENTRIES * HB_LANE_BYTES)               \
      for (int v = 0; v < VECTORS; ++v) {                                                         \
        const char *r = row + v * HB_VECTOR;                                                      \
        char *t = table + v * HB_VECTOR;                                                          \
        const V a = *(const V *)r, b = *(const V *)(r + HB_LANE_BYTES),                           \
                c = *(const V *)(r + 2 * HB_LANE_BYTES), d = *(const V *)(r + 3 * HB_LANE_BYTES), \
                e = *(const V *)(r + 4 * HB_LANE_BYTES);                                          \
        const V ab[4] = {-a - b, a - b, b - a, a + b};                                            \
        const V de[4] = {-d - e, d - e, e - d, d + e};                                            \
        V abc[8];                                                                                 \
        for (int i = 0; i < 4; ++i) abc[i] = ab[i] - c, abc[4 + i] = ab[i] + c;                   \
        for (int q = 0; q < 4; ++q)                                                               \
          for (int i = 0; i < 8; ++i) *(V *)(t + (q * 8 + i) * HB_LANE_BYTES) = abc[i] + de[q];   \
      }                                                                                           \
  }
HB_BUILD(build_f32, vf)
HB_BUILD(build_s16, vs)

// Adds one entry of each of `groups` tables to the sums of every output channel. The bytes of four
// channels are one load: look-ups are bound by loads, two vectors a cycle.
#define HB_LOOK_UP(NAME, V)                                                                      \
  static __attribute__((noinline)) HB_TARGET void NAME(                                          \
      const char *tables, const uint8_t *index, int groups, char *sums, int channels, int add) { \
    for (int n = 0; n < channels; n += HB_CHANNELS, sums += HB_CHANNELS * HB_LANE_BYTES) {       \
      V s[HB_CHANNELS][VECTORS];                                                                 \
      for (int j = 0; j < HB_CHANNELS; ++j)                                                      \
        for (int v = 0; v < VECTORS; ++v)                                                        \
          s[j][v] = add ? *(const V *)(sums + j * HB_LANE_BYTES + v * HB_VECTOR) : (V){0};       \
      const char *table = tables;                                                                \
      for (int g = 0; g < groups;                                                                \
           ++g, table += HB_ENTRIES * HB_LANE_BYTES, index += HB_CHANNELS) {                     \
        uint32_t four;                                                                           \
        memcpy(&four, index, sizeof four);                                                       \
        for (int j = 0; j < HB_CHANNELS; ++j) {                                                  \
          const char *entry =                                                                    \
              table + (size_t)(four >> (8 * j) & 0xff) * (HB_LANE_BYTES / HB_INDEX_UNIT);        \
          for (int v = 0; v < VECTORS; ++v) s[j][v] += *(const V *)(entry + v * HB_VECTOR);      \
        }                                                                                        \
      }                                                                                          \
      for (int j = 0; j < HB_CHANNELS; ++j)                                                      \
        for (int v = 0; v < VECTORS; ++v)                                                        \
          *(V *)(sums + j * HB_LANE_BYTES + v * HB_VECTOR) = s[j][v];                            \
    }                                                                                            \
  }
HB_LOOK_UP(look_up_f32, vf)
HB_LOOK_UP(look_up_s16, vs)

HB_FN void widen(const int16_t *restrict sums, int32_t *restrict wide, int count, int add) {
  if (add)
    for (int i = 0; i < count; ++i) wide[i] += sums[i];
  else
    for (int i = 0; i < count; ++i) wide[i] = sums[i];
}

// One tile of lanes: where each lane reads and writes.
typedef struct {
  int64_t y[HB_LANES_S8];       // first input row, negative in the padding; none if not there
  int64_t input[HB_LANES_S8];   // first element of that row
  int64_t output[HB_LANES_S8];  // first element of the lane's first output pixel
  int64_t left[HB_LANES_S8];    // output rows from there to the end of the image
} lane_map;

HB_FN void map_lanes(lane_map *m, const hb_plan *p, int64_t *columns, int tile) {
  const hb_conv_geometry *g = &p->g;
  for (int l = 0; l < p->lanes; ++l) {
    const int64_t id = (int64_t)tile * p->lanes + l;
    m->y[l] = INT64_MIN / 2;
    m->input[l] = m->output[l] = m->left[l] = 0;
    for (int kx = 0; kx < g->k_w; ++kx) columns[(int64_t)kx * p->lanes + l] = -1;
    if (id >= p->lane_count) continue;
    const int64_t per_image = (int64_t)p->segments * g->out_w;
    const int64_t b = id / per_image, rest = id % per_image;
    const int64_t x = rest % g->out_w, row = rest / g->out_w * p->steps;
    m->y[l] = row * g->stride_h - g->pad_top;
    m->input[l] = (b * g->in_h + m->y[l]) * g->in_w * g->in_c;
    m->output[l] = ((b * g->out_h + row) * g->out_w + x) * g->out_c;
    m->left[l] = g->out_h - row;
    for (int kx = 0; kx < g->k_w; ++kx) {
      const int64_t ix = x * g->stride_w - g->pad_left + (int64_t)kx * g->dilation_w;
      if (ix >= 0 && ix < g->in_w) columns[(int64_t)kx * p->lanes + l] = ix * g->in_c;
    }
  }
}

// Start of input row r of every lane, -1 where it lies in the padding; false if it does for all.
HB_FN bool find_rows(int64_t *rows, const lane_map *m, const hb_plan *p, int64_t r) {
  const int64_t further = r * p->g.in_w * p->g.in_c, in_h = p->g.in_h;
  int64_t outside = -1;
  for (int l = 0; l < p->lanes; ++l) {
    const int64_t y = m->y[l] + r;
    const int64_t masked = -(int64_t)((y < 0) | (y >= in_h));
    rows[l] = (m->input[l] + further) | masked;
    outside &= masked;
  }
  return outside == 0;
}

// Where every lane finds its input for kernel column kx.
HB_FN void locate_inputs(const char **at, const workspace *w, const hb_plan *p, const int64_t *rows,
                         int kx, const char *x, int size) {
  const int64_t *column = w->columns + (int64_t)kx * p->lanes;
  for (int l = 0; l < p->lanes; ++l)  // either is -1: only the sign of both together matters
    at[l] = (rows[l] | column[l]) < 0 ? w->padding : x + (rows[l] + column[l]) * size;
}

// Where every lane puts step t, NULL where it has none.
HB_FN void locate_outputs(char **to, const hb_plan *p, const lane_map *m, int64_t t, char *y,
                          int size) {
  const int64_t further = t * p->g.out_w * p->g.out_c;
  for (int l = 0; l < p->lanes; ++l)
    to[l] = t < m->left[l] ? y + (m->output[l] + further) * size : NULL;
}

// Large images come from beyond the second-level cache: what the next input row and the output row
// at hand need is fetched into it while look-ups keep the first level busy.
HB_FN void fetch_ahead(const workspace *w, const hb_plan *p, const lane_map *m, int64_t r,
                       int64_t t, const char *x, char *y, int size) {
  int64_t rows[HB_LANES_S8];
  const char *at[HB_LANES_S8];
  char *to[HB_LANES_S8];
  find_rows(rows, m, p, r + 1);
  locate_inputs(at, w, p, rows, p->g.k_w / 2, x, size);
  locate_outputs(to, p, m, t, y, size);
  for (int l = 0; l < p->lanes; ++l) {
    for (int i = 0; i < p->g.in_c * size; i += 64) __builtin_prefetch(at[l] + i, 0, 2);
    for (int i = 0; to[l] && i < p->g.out_c * size; i += 64) __builtin_prefetch(to[l] + i, 0, 2);
  }
}

HB_FN void pack_row(const workspace *w, const hb_plan *p, const int64_t *rows, const char *x,
                    int in_zero, const bool is_float) {
  const int size = is_float ? 4 : 1;
  for (int kx = 0; kx < p->g.k_w; ++kx) {
    const char *at[HB_LANES_S8];
    locate_inputs(at, w, p, rows, kx, x, size);
    char *to = w->row + (size_t)kx * (size_t)p->g.in_c * HB_LANE_BYTES;
    if (is_float)
      pack_f32(at, p->g.in_c, (float *)to);
    else
      pack_s8(at, p->g.in_c, in_zero, (int16_t *)to);
  }
}

// Adds `groups` freshly built tables into one output row.
HB_FN void add_block(const workspace *w, const hb_plan *p, int slot, const uint8_t *index,
                     int groups, int reach, const bool is_float) {
  const size_t stride = (size_t)p->rows * HB_LANE_BYTES;
  char *sums = w->sums + (size_t)slot * stride;
  hb_slot *s = w->state + slot;
  if (is_float) {
    look_up_f32(w->tables, index, groups, sums, p->rows, s->has_sums);
  } else {
    if (s->pending + reach > INT16_MAX) {
      widen((const int16_t *)sums, w->wide + (size_t)slot * stride / 2, p->rows * HB_LANES_S8,
            s->has_wide);
      s->has_wide = 1;
      s->has_sums = s->pending = 0;
    }
    s->pending += reach;
    look_up_s16(w->tables, index, groups, sums, p->rows, s->has_sums);
  }
  s->has_sums = 1;
}

// Adds up the planes of bits: the sums of the weights take the place of those of plane 0.
HB_FN void fold_planes_f32(float *restrict sums, const hb_plan *p) {
  const int count = p->out_padded * HB_LANES_F32;
  for (int k = 1; k < p->bits; ++k)
    for (int i = 0; i < count; ++i) sums[i] = 2 * sums[i] + sums[k * count + i];
}

// The same; what a plane's sums are is 16 bits and wide ones together, the result the latter's
// part.
HB_FN void fold_planes_s8(const int16_t *restrict sums, int32_t *restrict wide, const hb_plan *p,
                          int has_wide) {
  const int count = p->out_padded * HB_LANES_S8;
  for (int i = 0; i < count; ++i) {
    int32_t total = 0;
    for (int k = 0; k < p->bits; ++k)
      total = 2 * total + sums[k * count + i] + (has_wide ? wide[k * count + i] : 0);
    wide[i] = total - sums[i];
  }
}

HB_FN void finish_row(const workspace *w, const hb_plan *p, const lane_map *m, int t,
                      const void *how, char *y, const bool is_float) {
  const hb_conv_geometry *g = &p->g;
  const int slot = t % p->slots, size = is_float ? 4 : 1;
  const size_t stride = (size_t)p->rows * HB_LANE_BYTES;
  char *sums = w->sums + (size_t)slot * stride;
  hb_slot *s = w->state + slot;
  char *to[HB_LANES_S8];
  locate_outputs(to, p, m, t, y, size);
  if (!s->has_sums) memset(sums, 0, stride);
  int32_t *wide = w->wide + (size_t)slot * stride / 2;
  if (is_float) {
    if (p->bits > 1) fold_planes_f32((float *)sums, p);
    store_f32((const float *)sums, g->out_c, how, to);
  } else {
    if (p->bits > 1) fold_planes_s8((const int16_t *)sums, wide, p, s->has_wide);
    store_s8((const int16_t *)sums, s->has_wide || p->bits > 1 ? wide : NULL, g->out_c, how,
             (int8_t *)w->results, to);
  }
  memset(s, 0, sizeof *s);
}

// The output rows [low, high] that input row r goes into.
HB_FN int find_uses(hb_row_use *uses, const hb_plan *p, int64_t r, int64_t low, int64_t high) {
  int count = 0;
  for (int64_t t = low; t <= high; ++t) {
    const int64_t offset = r - t * p->g.stride_h;
    if (offset % p->g.dilation_h == 0)
      uses[count++] = (hb_row_use){(int)(t % p->slots), (int)(offset / p->g.dilation_h)};
  }
  return count;
}

// Adds the packed input row into every output row that uses it.
HB_FN void add_row(const hb_conv *c, const hb_plan *p, const workspace *w, int uses,
                   const bool is_float) {
  for (int g0 = 0; g0 < p->groups; g0 += HB_BLOCK) {
    const int groups = p->groups - g0 < HB_BLOCK ? p->groups - g0 : HB_BLOCK;
    const char *from = w->row + (size_t)g0 * HB_GROUP * HB_LANE_BYTES;
    if (is_float)
      build_f32(w->tables, from, groups);
    else
      build_s16(w->tables, from, groups);
    const int reach = is_float ? 0 : reach_s16((const int16_t *)from, groups * HB_GROUP);
    for (int i = 0; i < uses; ++i) {
      const size_t at = (size_t)w->uses[i].ky * (size_t)p->groups + (size_t)g0;
      add_block(w, p, w->uses[i].slot, c->index + at * (size_t)p->rows, groups, reach, is_float);
    }
  }
}

HB_FN void run_tile(const hb_conv *c, const hb_plan *p, const workspace *w, const void *how,
                    const char *x, char *y, int tile, int in_zero, const bool is_float) {
  const hb_conv_geometry *g = &p->g;
  lane_map map;
  map_lanes(&map, p, w->columns, tile);
  const int64_t span = (int64_t)(g->k_h - 1) * g->dilation_h;
  const int64_t last = (int64_t)(p->steps - 1) * g->stride_h + span;
  for (int64_t r = 0; r <= last; ++r) {
    const int64_t high = r / g->stride_h < p->steps - 1 ? r / g->stride_h : p->steps - 1;
    const int64_t low = r <= span ? 0 : (r - span + g->stride_h - 1) / g->stride_h;
    const int uses = find_uses(w->uses, p, r, low, high);
    int64_t rows[HB_LANES_S8];
    if (uses && find_rows(rows, &map, p, r)) {
      pack_row(w, p, rows, x, in_zero, is_float);
      if (p->is_far) fetch_ahead(w, p, &map, r, low, x, y, is_float ? 4 : 1);
      add_row(c, p, w, uses, is_float);
    }
    if (low * g->stride_h + span == r) finish_row(w, p, &map, (int)low, how, y, is_float);
  }
}

HB_FN void run_lut(const hb_conv *c, const hb_plan *p, const void *how, const char *x, char *y,
                   char *memory, int tile, int in_zero, const bool is_float) {
  const workspace w = carve(memory, &p->at);
  const int elems = p->groups * HB_GROUP;
  memset(w.row + (size_t)p->row_elems * HB_LANE_BYTES, 0,
         (size_t)(elems - p->row_elems) * HB_LANE_BYTES);
  memset(w.padding, is_float ? 0 : in_zero, (size_t)p->g.in_c * (is_float ? 4 : 1));
  memset(w.state, 0, (size_t)p->slots * sizeof *w.state);
  run_tile(c, p, &w, how, x, y, tile, in_zero, is_float);
}

HB_TARGET static void HB_ISA(run_lut_f32)(const hb_conv *c, const hb_plan *p, const void *how,
                                          const void *x, void *y, char *memory, int tile) {
  run_lut(c, p, how, x, y, memory, tile, 0, true);
}

HB_TARGET static void HB_ISA(run_lut_s8)(const hb_conv *c, const hb_plan *p, const void *how,
                                         const void *x, void *y, char *memory, int tile) {
  run_lut(c, p, how, x, y, memory, tile, ((const hb_requant *)how)->in_zero, false);
}

static const hb_method HB_ISA(lut_f32) = {hb_lut_takes, hb_lut_pack, hb_lut_unpack, hb_lut_plan,
                                          HB_ISA(run_lut_f32)};
static const hb_method HB_ISA(lut_s8) = {hb_lut_takes, hb_lut_pack, hb_lut_unpack, hb_lut_plan,
                                         HB_ISA(run_lut_s8)};
