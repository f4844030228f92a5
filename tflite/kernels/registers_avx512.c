// Convolution of int8 activations by look-ups in registers, for sets with AVX-512 VNNI.
//
// Output channels are the lanes: for 5 input channels of one pixel the 32 sums of u = x + 128 over
// those whose weight is +1 fill one register, in which 32 output channels look theirs up at once.
// Weights of -1 come in at the end: sum of b * u = 2 * (sum over b = +1) - (sum of the window). A
// table serves all taps that cross its pixel, so tables of as many input rows as a window spans are
// kept, for a strip of columns; images are read as they are.
#if defined(__x86_64__)
#include "registers.h"

#include <immintrin.h>
#include <string.h>

#define HB_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")))
#define FN static inline __attribute__((always_inline)) HB_TARGET

#if defined(__clang__)
#define HB_UNROLL _Pragma("unroll")
#else
#define HB_UNROLL _Pragma("GCC unroll 8")
#endif

// Constants of building a table: bit i of entry e as a byte, for 4 channels; the fifth; 128 for
// each channel that an entry adds.
typedef struct {
  __m512i bits, fifth, base, base5;
} builder;

FN builder make_builder(void) {
  int32_t bits[16], base[16];
  for (int e = 0; e < 16; ++e) {
    bits[e] = (e & 1) | (e & 2) << 7 | (e & 4) << 14 | (e & 8) << 21;
    base[e] = 128 * __builtin_popcount((unsigned)e);
  }
  const __m512i b = _mm512_loadu_si512(base);
  return (builder){_mm512_loadu_si512(bits), _mm512_set1_epi32(1), b,
                   _mm512_add_epi32(b, _mm512_set1_epi32(128))};
}

FN __m512i four_bytes(const int8_t *x) {
  int32_t four;
  memcpy(&four, x, sizeof four);
  return _mm512_set1_epi32(four);
}

// The tables of `count` groups of a pixel; reads 3 bytes more than their channels.
FN void build_tables(const builder *b, const int8_t *x, char *table, int count) {
  for (int k = 0; k < count; ++k, x += HB_GROUP, table += HB_TABLE) {
    const __m512i four = four_bytes(x), last = four_bytes(x + 4);
    const __m512i without = _mm512_dpbusd_epi32(b->base, b->bits, four);
    const __m512i with =
        _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(b->base5, b->bits, four), b->fifth, last);
    _mm512_store_si512(table, _mm512_packus_epi32(without, with));
  }
}

// A tile: rows [y, y + rows) and columns [x, x + width) of the results of one image.
typedef struct {
  const hb_conv *c;
  const hb_plan *p;
  hb_register_shape shape;
  const int8_t *image, *end;  // end: of the whole input
  int8_t *result;             // of the tile's first pixel
  int rows, width, columns;
  int64_t in_y, in_x;  // first input row and column, perhaps in the padding
  int in_zero;
  char *memory;
} tile;

// A pixel of the tile's input; NULL in the padding.
FN const int8_t *pixel(const tile *t, int64_t row, int64_t column) {
  const hb_conv_geometry *g = &t->p->g;
  const int64_t y = t->in_y + row, x = t->in_x + column;
  if (y < 0 || y >= g->in_h || x < 0 || x >= g->in_w) return NULL;
  return t->image + (y * g->in_w + x) * g->in_c;
}

// Sum of x + 128 over the channels of a pixel.
FN int32_t pixel_sum(const int8_t *x, int channels) {
  const __m512i ones = _mm512_set1_epi8(1);
  __m512i sum = _mm512_setzero_si512();
  int c = 0;
  for (; c + 64 <= channels; c += 64)
    sum = _mm512_dpbusd_epi32(sum, ones, _mm512_loadu_si512(x + c));
  if (c < channels)
    sum = _mm512_dpbusd_epi32(
        sum, ones, _mm512_maskz_loadu_epi8(~UINT64_C(0) >> (64 - (channels - c)), x + c));
  return _mm512_reduce_add_epi32(sum) + 128 * channels;
}

// The window sums of the tile's results.
HB_TARGET static __attribute__((noinline)) void sum_windows(const tile *t) {
  const hb_conv_geometry *g = &t->p->g;
  const hb_register_plan *r = &t->p->registers;
  int32_t *sums = (int32_t *)(t->memory + r->pixel_sums);
  int32_t *windows = (int32_t *)(t->memory + r->windows);
  const int rows = (t->rows - 1) * g->stride_h + r->ring, columns = t->columns;
  for (int y = 0; y < rows; ++y)
    for (int x = 0; x < columns; ++x) {
      const int8_t *at = pixel(t, y, x);
      sums[(size_t)y * (size_t)columns + (size_t)x] =
          at ? pixel_sum(at, g->in_c) : (t->in_zero + 128) * g->in_c;
    }
  for (int y = 0; y < t->rows; ++y, windows += r->width) {
    memset(windows, 0, (size_t)t->width * sizeof *windows);
    for (int ky = 0; ky < g->k_h; ++ky)
      for (int kx = 0; kx < g->k_w; ++kx) {
        const size_t row = (size_t)y * (size_t)g->stride_h + (size_t)ky * (size_t)g->dilation_h;
        const int32_t *from = sums + row * (size_t)columns + (size_t)kx * (size_t)g->dilation_w;
        for (int x = 0; x < t->width; ++x) windows[x] += from[(size_t)x * (size_t)g->stride_w];
      }
  }
}

// Tables of one block of one input row of the tile.
HB_TARGET static __attribute__((noinline)) void build_row(const tile *t, int64_t row, int block) {
  const hb_conv_geometry *g = &t->p->g;
  const hb_register_plan *r = &t->p->registers;
  const int count = hb_groups_in(&t->shape, block);
  const size_t step = (size_t)t->shape.per_block * HB_TABLE;
  const size_t bytes = (size_t)count * HB_GROUP + 3,
               skip = (size_t)block * (size_t)t->shape.per_block * HB_GROUP;
  char *table = t->memory + r->tables + (size_t)(row % r->ring) * (size_t)t->columns * step;
  const builder b = make_builder();
  // Strides pass over columns that no tap comes to.
  const int used = g->dilation_w == 1 && g->k_w < g->stride_w ? g->k_w : g->stride_w;
  for (int x = 0; x < t->columns; ++x, table += step) {
    if (x % g->stride_w >= used) continue;
    const int8_t *at = pixel(t, row, x);
    if (!at) {
      at = (const int8_t *)t->memory + r->border;
    } else if ((size_t)(t->end - at) < skip + bytes) {  // the last pixels of the input
      int8_t *copy = (int8_t *)t->memory + r->bounce;
      memcpy(copy, at + skip, (size_t)(t->end - at) - skip);
      at = copy;
    } else {
      at += skip;
    }
    build_tables(&b, at, table, count);
  }
}

// What a core needs for up to 8 neighbouring pixels and 4 vectors of output channels.
typedef struct {
  const char *tables;      // of the first pixel
  size_t pixel_step;       // bytes of tables between pixels
  const uint16_t *words;   // of the first vector
  int length;              // words of a vector
  const int32_t *offsets;  // of the tables of all look-ups
  int32_t *sums;           // [pixel][vector][2][16], of blocks before and up to this one
  size_t sums_step;        // int32 between pixels
  bool adds, ends;         // whether there were blocks before, and whether this is the last
  const int32_t *windows;
  int8_t *result;  // of the first pixel and channel
  int outputs;     // channels from there to the last one; between pixels:
  size_t result_step;
  const int32_t *bias, *magnitude;
  const float *multiplier;
  float lo, hi;
  int out_zero;
} core_job;

FN __m128i requantise16(const core_job *j, __m512i sum, int at, __m512i window) {
  const __m512i twice = _mm512_sub_epi32(_mm512_add_epi32(sum, sum), window);
  const __m512i scaled = _mm512_mullo_epi32(twice, _mm512_loadu_si512(j->magnitude + at));
  const __m512i biased = _mm512_add_epi32(scaled, _mm512_loadu_si512(j->bias + at));
  __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(biased), _mm512_loadu_ps(j->multiplier + at));
  v = _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(j->lo)), _mm512_set1_ps(j->hi));
  return _mm512_cvtepi32_epi8(
      _mm512_add_epi32(_mm512_cvtps_epi32(v), _mm512_set1_epi32(j->out_zero)));
}

FN void store16(int8_t *to, __m128i q, int many) {
  if (many >= 16)
    _mm_storeu_si128((__m128i *)to, q);
  else if (many > 0)
    _mm_mask_storeu_epi8(to, (__mmask16)((1u << many) - 1), q);
}

// What to do with the 16-bit sums of one pixel and vector.
FN void finish_vector(const core_job *j, __m512i sums, int pixel, int vector) {
  __m512i low = _mm512_and_si512(sums, _mm512_set1_epi32(0xffff)),
          high = _mm512_srli_epi32(sums, 16);
  int32_t *kept = j->sums + (size_t)pixel * j->sums_step + (size_t)vector * HB_VECTOR_OUTPUTS;
  if (j->adds) {
    low = _mm512_add_epi32(low, _mm512_load_si512(kept));
    high = _mm512_add_epi32(high, _mm512_load_si512(kept + 16));
  }
  if (!j->ends) {
    _mm512_store_si512(kept, low);
    _mm512_store_si512(kept + 16, high);
    return;
  }
  const __m512i window = _mm512_set1_epi32(j->windows[pixel]);
  const int at = vector * HB_VECTOR_OUTPUTS, left = j->outputs - at;
  int8_t *to = j->result + (size_t)pixel * j->result_step + at;
  store16(to, requantise16(j, low, at, window), left);
  store16(to + 16, requantise16(j, high, at + 16, window), left - 16);
}

// One copy for all cores: unrolled into each, it would be a third of the library.
HB_TARGET static __attribute__((noinline)) void finish_core(const core_job *j, const __m512i *sums,
                                                            int pixels, int vectors) {
  for (int p = 0; p < pixels; ++p)
    for (int v = 0; v < vectors; ++v) finish_vector(j, sums[p * vectors + v], p, v);
}

// Look-ups of PIXELS x VECTORS, a table entry to a lane, PIXELS * VECTORS registers of sums.
FN void run_core(const core_job *j, const int pixels, const int vectors) {
  __m512i sums[8][4], index[4];
  HB_UNROLL
  for (int p = 0; p < pixels; ++p) {
    HB_UNROLL
    for (int v = 0; v < vectors; ++v) sums[p][v] = _mm512_setzero_si512();
  }
  const uint16_t *words = j->words;
  for (int k = 0; k < j->length; ++k, words += HB_VECTOR_OUTPUTS) {
    HB_UNROLL
    for (int v = 0; v < vectors; ++v)
      index[v] = _mm512_load_si512(words + (size_t)v * (size_t)j->length * HB_VECTOR_OUTPUTS);
    HB_UNROLL
    for (int third = 0; third < HB_PER_WORD; ++third) {
      const char *table = j->tables + j->offsets[HB_PER_WORD * k + third];
      HB_UNROLL
      for (int p = 0; p < pixels; ++p) {
        const __m512i entries = _mm512_load_si512(table + (size_t)p * j->pixel_step);
        HB_UNROLL
        for (int v = 0; v < vectors; ++v) {
          sums[p][v] = _mm512_add_epi16(sums[p][v], _mm512_permutexvar_epi16(index[v], entries));
          __asm__("" : "+v"(sums[p][v]));  // compilers otherwise reorder additions and spill
        }
      }
      HB_UNROLL
      for (int v = 0; v < vectors; ++v) index[v] = _mm512_srli_epi16(index[v], HB_INDEX_BITS);
    }
  }
  __m512i done[8 * 4];
  HB_UNROLL
  for (int p = 0; p < pixels; ++p) {
    HB_UNROLL
    for (int v = 0; v < vectors; ++v) done[p * vectors + v] = sums[p][v];
  }
  finish_core(j, done, pixels, vectors);
}

// clang-format off
#define HB_CORE(P, V)                                                                 \
  HB_TARGET static __attribute__((noinline)) void core_##P##_##V(const core_job *j) { \
    run_core(j, P, V);                                                                \
  }
HB_CORE(1, 1) HB_CORE(2, 1) HB_CORE(3, 1) HB_CORE(4, 1)
HB_CORE(5, 1) HB_CORE(6, 1) HB_CORE(7, 1) HB_CORE(8, 1)
HB_CORE(1, 2) HB_CORE(2, 2) HB_CORE(3, 2) HB_CORE(4, 2)
HB_CORE(5, 2) HB_CORE(6, 2) HB_CORE(7, 2) HB_CORE(8, 2)
HB_CORE(1, 3) HB_CORE(2, 3) HB_CORE(3, 3) HB_CORE(4, 3) HB_CORE(5, 3) HB_CORE(6, 3) HB_CORE(7, 3)
HB_CORE(1, 4) HB_CORE(2, 4) HB_CORE(3, 4) HB_CORE(4, 4) HB_CORE(5, 4)
    // clang-format on

    enum {
      CORE_VECTORS = 4
    };
// As many pixels as registers allow beside the sums.
static const int core_pixels[CORE_VECTORS + 1] = {0, 8, 8, 7, 5};
static void (*const cores[CORE_VECTORS + 1][9])(const core_job *) = {
    {NULL},
    {NULL, core_1_1, core_2_1, core_3_1, core_4_1, core_5_1, core_6_1, core_7_1, core_8_1},
    {NULL, core_1_2, core_2_2, core_3_2, core_4_2, core_5_2, core_6_2, core_7_2, core_8_2},
    {NULL, core_1_3, core_2_3, core_3_3, core_4_3, core_5_3, core_6_3, core_7_3},
    {NULL, core_1_4, core_2_4, core_3_4, core_4_4, core_5_4},
};

// One row of results of one block.
FN void run_row(const tile *t, core_job j, int y, int block, const uint16_t *words) {
  const hb_conv_geometry *g = &t->p->g;
  const hb_register_plan *r = &t->p->registers;
  const size_t column = (size_t)t->shape.per_block * HB_TABLE;
  const int phase = (int)((int64_t)y * g->stride_h % r->ring);
  const int32_t *windows = (const int32_t *)(t->memory + r->windows) + (size_t)y * (size_t)r->width;
  const size_t row_sums = (size_t)r->width * j.sums_step;
  const core_job all = j;
  j.offsets += (size_t)phase * (size_t)r->steps;
  j.length = hb_words_in(t->c, &t->shape, block);
  j.pixel_step = column * (size_t)g->stride_w;
  for (int v = 0; v < t->shape.vectors; v += CORE_VECTORS) {
    const int left = t->shape.vectors - v, many = left < CORE_VECTORS ? left : CORE_VECTORS;
    int parts = (t->width + core_pixels[many] - 1) / core_pixels[many];
    j.words = words + (size_t)v * (size_t)j.length * HB_VECTOR_OUTPUTS;
    j.bias = all.bias + v * HB_VECTOR_OUTPUTS;
    j.magnitude = all.magnitude + v * HB_VECTOR_OUTPUTS;
    j.multiplier = all.multiplier + v * HB_VECTOR_OUTPUTS;
    j.outputs = g->out_c - v * HB_VECTOR_OUTPUTS;
    for (int x = 0, pixels; x < t->width; x += pixels, --parts) {
      pixels = (t->width - x + parts - 1) / parts;
      j.tables = t->memory + r->tables + (size_t)x * j.pixel_step;
      j.sums = all.sums + (size_t)y * row_sums + (size_t)x * j.sums_step + v * HB_VECTOR_OUTPUTS;
      j.windows = windows + x;
      j.result = t->result + ((size_t)y * (size_t)g->out_w + (size_t)x) * (size_t)g->out_c +
                 v * HB_VECTOR_OUTPUTS;
      cores[many][pixels](&j);
    }
  }
}

// Where the tables of a block's look-ups lie, for every phase of the ring of rows.
FN void place_look_ups(const tile *t, int block, int32_t *offsets) {
  const hb_conv_geometry *g = &t->p->g;
  const hb_register_plan *r = &t->p->registers;
  const int count = hb_groups_in(&t->shape, block), steps = g->k_h * g->k_w * count;
  const int column = t->shape.per_block * HB_TABLE;
  for (int phase = 0; phase < r->ring; ++phase, offsets += r->steps)
    for (int s = 0; s < HB_PER_WORD * hb_words_in(t->c, &t->shape, block); ++s) {
      const int tap = (s < steps ? s : 0) / count, group = (s < steps ? s : 0) % count;
      const int row = (phase + tap / g->k_w * g->dilation_h) % r->ring;
      offsets[s] = (row * t->columns + tap % g->k_w * g->dilation_w) * column + group * HB_TABLE;
    }
}

// Parameters by channel, padded to whole vectors: the zero point is part of the bias.
FN core_job prepare_job(const tile *t, const hb_requant *how) {
  const hb_register_plan *r = &t->p->registers;
  const int outputs = t->shape.vectors * HB_VECTOR_OUTPUTS;
  int32_t *bias = (int32_t *)(t->memory + r->bias);
  int32_t *magnitude = (int32_t *)(t->memory + r->magnitude);
  float *multiplier = (float *)(t->memory + r->multiplier);
  for (int o = 0; o < outputs; ++o) {
    const bool real = o < t->c->out_c;
    magnitude[o] = real && how->magnitude ? how->magnitude[o] : 1;
    multiplier[o] = real ? how->multiplier[o] : 0;
    const uint32_t zero = (uint32_t)(how->in_zero + 128) * (uint32_t)t->c->level_sum[o];
    bias[o] =
        (int32_t)((uint32_t)(real && how->bias ? how->bias[o] : 0) - (uint32_t)magnitude[o] * zero);
  }
  return (core_job){.sums = (int32_t *)(t->memory + r->sums),
                    .sums_step = (size_t)outputs,
                    .offsets = (const int32_t *)(t->memory + r->offsets),
                    .result_step = (size_t)t->p->g.out_c,
                    .bias = bias,
                    .magnitude = magnitude,
                    .multiplier = multiplier,
                    .lo = (float)(how->lo - how->out_zero),
                    .hi = (float)(how->hi - how->out_zero),
                    .out_zero = how->out_zero};
}

FN tile find_tile(const hb_conv *c, const hb_plan *p, const hb_requant *how, const int8_t *x,
                  int8_t *y, char *memory, int number) {
  const hb_conv_geometry *g = &p->g;
  const hb_register_plan *r = &p->registers;
  const int64_t in_size = (int64_t)g->in_h * g->in_w * g->in_c;
  const int64_t out_size = (int64_t)g->out_h * g->out_w * g->out_c;
  const int image = number / (r->strips * r->pieces), piece = number / r->strips % r->pieces;
  const int x0 = number % r->strips * r->width, y0 = piece * r->rows;
  tile t;
  t.c = c;
  t.p = p;
  t.shape = hb_registers_of(c);
  t.image = x + image * in_size;
  t.end = x + g->batch * in_size;
  t.result = y + image * out_size + ((int64_t)y0 * g->out_w + x0) * g->out_c;
  t.rows = g->out_h - y0 < r->rows ? g->out_h - y0 : r->rows;
  t.width = g->out_w - x0 < r->width ? g->out_w - x0 : r->width;
  t.columns = (t.width - 1) * g->stride_w + (g->k_w - 1) * g->dilation_w + 1;
  t.in_y = (int64_t)y0 * g->stride_h - g->pad_top;
  t.in_x = (int64_t)x0 * g->stride_w - g->pad_left;
  t.in_zero = how->in_zero;
  t.memory = memory;
  return t;
}

HB_TARGET static void run_registers(const hb_conv *c, const hb_plan *p, const void *how,
                                    const void *x, void *y, char *memory, int number) {
  const tile t = find_tile(c, p, how, x, y, memory, number);
  const hb_register_plan *r = &p->registers;
  if (t.rows < 1 || t.width < 1) return;  // strips of equal width may end before the last one
  core_job j = prepare_job(&t, how);
  memset(memory + r->border, t.in_zero, (size_t)t.shape.per_block * HB_GROUP + 8);
  memset(memory + r->bounce, 0, (size_t)t.shape.per_block * HB_GROUP + 8);
  sum_windows(&t);
  const uint16_t *words = (const uint16_t *)c->index;
  for (int block = 0; block < t.shape.blocks; ++block) {
    place_look_ups(&t, block, (int32_t *)(memory + r->offsets));
    j.adds = block > 0;
    j.ends = block == t.shape.blocks - 1;
    int64_t ready = 0;  // input rows that have tables, or are passed over
    for (int row = 0; row < t.rows; ++row) {
      const int64_t first = (int64_t)row * p->g.stride_h;
      for (ready = ready > first ? ready : first; ready < first + r->ring; ++ready)
        build_row(&t, ready, block);
      run_row(&t, j, row, block, words);
    }
    words += (size_t)t.shape.vectors * (size_t)hb_words_in(c, &t.shape, block) * HB_VECTOR_OUTPUTS;
  }
}

const hb_method hb_registers_s8 = {hb_registers_take, hb_registers_pack, hb_registers_unpack,
                                   hb_registers_plan, run_registers};
#else
typedef int hb_no_registers_here;
#endif
