// Dense entry points: tables of the input row once, then blocks of outputs shared out over threads.
#include "internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// 2^18 inputs are the most whose sums of 12-bit planes fit 32 bits, with the smallest levels.
enum { MAX_INPUTS = 1 << 18, BLOCKS_PER_ITEM = 4 };
// Of tables, per byte of weights.
enum { TABLE_BYTES = 2 * HB_HALF_TABLE * HB_DIGITS_F32 };
_Static_assert(HB_DIGITS_F32 >= HB_DIGITS_S8, "float tables are the larger ones");

static int dense_bytes(const hb_dense *d) { return (d->in_c + 7) / 8; }
static int dense_blocks(const hb_dense *d) {
  return (d->out_c + d->outputs_per_block - 1) / d->outputs_per_block;
}

// The byte of plane `plane` that holds input k of output o.
static uint8_t *byte_at(const hb_dense *d, int o, int k, int plane) {
  const size_t block = (size_t)d->outputs_per_block, bytes = (size_t)dense_bytes(d);
  const size_t rows = (size_t)o / block * (size_t)d->bits + (size_t)plane;
  return d->planes + (rows * bytes + (size_t)k / 8) * block + (size_t)o % block;
}

static int level(const hb_dense *d, int o, int k) {
  int code = 0;
  for (int plane = 0; plane < d->bits; ++plane)
    code = 2 * code + (*byte_at(d, o, k, plane) >> k % 8 & 1);
  return 2 * code - hb_top_level(d->bits);
}

static void pack_dense(hb_dense *d, const uint8_t *codes) {
  memset(d->planes, 0, d->plane_bytes);
  for (int o = 0; o < d->out_c; ++o)
    for (int k = 0; k < d->in_c; ++k, ++codes) {
      for (int plane = 0; plane < d->bits; ++plane)
        *byte_at(d, o, k, plane) |= (uint8_t)(hb_sign_bit(*codes, d->bits, plane) << k % 8);
      d->level_sum[o] += 2 * *codes - hb_top_level(d->bits);
    }
}

hb_dense *hb_dense_create(int out_c, int in_c, int bits, const uint8_t *codes) {
  if (out_c < 1 || in_c < 1 || out_c > 1 << 24 || bits < 1 || bits > HB_MAX_BITS ||
      in_c > MAX_INPUTS / hb_top_level(bits) || (int64_t)out_c * in_c * bits > INT32_MAX) {
    hb_fail("a Dense layer of %d x %d weights of %d bits is outside what the kernels take", out_c,
            in_c, bits);
    return NULL;
  }
  hb_dense *d = calloc(1, sizeof *d);
  if (!d) return hb_fail("no memory for a Dense layer"), NULL;
  d->out_c = out_c;
  d->in_c = in_c;
  d->bits = bits;
  d->kernels = hb_pick();
  d->outputs_per_block = d->kernels->dense_block;
  d->plane_bytes = (size_t)dense_blocks(d) * (size_t)bits * (size_t)d->outputs_per_block *
                   (size_t)dense_bytes(d);
  d->planes = hb_alloc(d->plane_bytes);
  d->level_sum = calloc((size_t)out_c, sizeof *d->level_sum);
  if (!d->planes || !d->level_sum) return hb_dense_destroy(d), NULL;
  pack_dense(d, codes);
  return d;
}

void hb_dense_destroy(hb_dense *d) {
  if (!d) return;
  free(d->level_sum);
  free(d->planes);
  free(d);
}

size_t hb_dense_weight_bytes(const hb_dense *d) {
  return d->plane_bytes + (size_t)d->out_c * sizeof *d->level_sum;
}

size_t hb_dense_workspace(const hb_dense *d) {
  return hb_round_up((size_t)dense_bytes(d) * TABLE_BYTES, 64);
}

void hb_dense_codes(const hb_dense *d, uint8_t *codes) {
  for (int o = 0; o < d->out_c; ++o)
    for (int k = 0; k < d->in_c; ++k)
      *codes++ = (uint8_t)((level(d, o, k) + hb_top_level(d->bits)) / 2);
}

// The output after those of the blocks before `last`.
static int end_of(const hb_dense *d, int last) {
  const int end = last * d->outputs_per_block;
  return end < d->out_c ? end : d->out_c;
}

typedef struct {
  const hb_dense *d;
  const hb_scale *scale;
  const hb_requant *requant;
  const void *x;
  void *y;
  const uint8_t *tables;
  float unit;     // float: size of one step of the upper plane; 0 = tables cannot be used
  int32_t x_sum;  // int8: sum of the inputs
} dense_job;

// Plain sums, for CPUs without byte look-ups and for inputs that are not finite.
static float plain_f32(const dense_job *j, int o) {
  const float *x = j->x;
  double sum = 0;
  for (int k = 0; k < j->d->in_c; ++k) sum += (double)level(j->d, o, k) * x[k];
  return (float)sum;
}

static int32_t plain_s8(const dense_job *j, int o) {
  const int8_t *x = j->x;
  int32_t sum = 0;
  for (int k = 0; k < j->d->in_c; ++k) sum += level(j->d, o, k) * x[k];
  return sum;
}

static void blocks_f32(const dense_job *j, int first, int last) {
  const hb_dense *d = j->d;
  if (d->kernels->dense_f32 && j->unit != 0) {
    d->kernels->dense_f32(d, j->scale, j->tables, j->unit, j->y, first, last);
    return;
  }
  for (int o = first * d->outputs_per_block; o < end_of(d, last); ++o)
    ((float *)j->y)[o] = hb_rescale(plain_f32(j, o), o, j->scale);
}

static void blocks_s8(const dense_job *j, int first, int last) {
  const hb_dense *d = j->d;
  if (d->kernels->dense_s8) {
    d->kernels->dense_s8(d, j->requant, j->tables, j->x_sum, j->y, first, last);
    return;
  }
  for (int o = first * d->outputs_per_block; o < end_of(d, last); ++o)
    ((int8_t *)j->y)[o] =
        hb_requantise(plain_s8(j, o) - j->requant->in_zero * d->level_sum[o], o, j->requant);
}

static void run_item(void *arg, int thread, int item) {
  (void)thread;
  const dense_job *j = arg;
  const int first = item * BLOCKS_PER_ITEM, blocks = dense_blocks(j->d);
  const int last = first + BLOCKS_PER_ITEM < blocks ? first + BLOCKS_PER_ITEM : blocks;
  j->requant ? blocks_s8(j, first, last) : blocks_f32(j, first, last);
}

static void run_row(dense_job *j, hb_pool *pool) {
  const int blocks = dense_blocks(j->d);
  const int64_t cycles = (int64_t)blocks * j->d->bits * dense_bytes(j->d) * (j->requant ? 4 : 10);
  if (cycles < HB_ALONE) pool = NULL;
  hb_pool_run(pool, (blocks + BLOCKS_PER_ITEM - 1) / BLOCKS_PER_ITEM, run_item, j);
}

int hb_dense_f32(const hb_dense *d, int batch, const hb_scale *scale, const float *x, float *y,
                 void *workspace, hb_pool *pool) {
  for (int b = 0; b < batch; ++b, x += d->in_c, y += d->out_c) {
    float most = 0;
    bool finite = true;
    for (int k = 0; k < d->in_c; ++k) {
      const float a = fabsf(x[k]);
      finite &= a <= 3.4e38f;
      most = a > most ? a : most;
    }
    // Below 1e-30 the scale 2047 / most would overflow on its way; plain sums are exact there.
    const bool usable = finite && (most == 0 || most > 1e-30f);
    const float scale_up = most == 0 ? 0 : 2047.f / most;
    dense_job j = {d, scale, NULL, x, y, workspace, 0, 0};
    if (usable && d->kernels->dense_tables_f32) {
      d->kernels->dense_tables_f32(x, d->in_c, scale_up, workspace);
      j.unit = most == 0 ? 1 : most / 2047.f;
    }
    run_row(&j, pool);
  }
  return 0;
}

int hb_dense_s8(const hb_dense *d, int batch, const hb_requant *requant, const int8_t *x, int8_t *y,
                void *workspace, hb_pool *pool) {
  for (int b = 0; b < batch; ++b, x += d->in_c, y += d->out_c) {
    dense_job j = {d, NULL, requant, x, y, workspace, 0, 0};
    for (int k = 0; k < d->in_c; ++k) j.x_sum += x[k];
    if (d->kernels->dense_tables_s8) d->kernels->dense_tables_s8(x, d->in_c, workspace);
    run_row(&j, pool);
  }
  return 0;
}
