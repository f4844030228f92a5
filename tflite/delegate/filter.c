// Recognising filters: constants, dequantised constants, and what packed.c recognises.
#include "filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/services.h"

void hb_filter_release(hb_filter *f) {
  free(f->codes);
  free(f->alpha);
  free(f->magnitude);
  f->codes = NULL;
  f->alpha = NULL;
  f->magnitude = NULL;
}

bool hb_filter_shape(hb_filter *f, const tfl_tensor *t, bool is_float, const char **reason) {
  const int64_t n = hb_elements(t);
  *reason = "its filter's shape is not sound";
  if (n < 1 || (t->dims->size != 2 && t->dims->size != 4)) return false;
  f->rank = t->dims->size;
  memcpy(f->dims, t->dims->data, (size_t)f->rank * sizeof(int));
  f->outputs = f->dims[f->channels_last ? f->rank - 1 : 0];
  f->per_output = (int)(n / f->outputs);
  f->is_float = is_float;
  f->codes = malloc((size_t)n);
  if (is_float)
    f->alpha = malloc((size_t)f->outputs * sizeof *f->alpha);
  else
    f->magnitude = malloc((size_t)f->outputs * sizeof *f->magnitude);
  *reason = "there is no memory for its filter";
  return f->codes && (is_float ? (void *)f->alpha : (void *)f->magnitude);
}

// |w| as an odd multiple of the unit, 0 if it is none that weights of HB_MAX_BITS bits reach. A
// filter's floats are such multiples rounded once.
static int level_f32(float w, float unit) {
  const int level = (int)fminf(rintf(w / unit), 99.f);
  return level % 2 && level <= hb_top_level(HB_MAX_BITS) && (float)level * unit == w ? level : 0;
}

static int level_s8(int w, int unit) {
  const int level = w / unit;
  return w % unit == 0 && level % 2 && level <= hb_top_level(HB_MAX_BITS) ? level : 0;
}

// The largest level of a channel in this unit, 0 if it is not one. Levels, signed, go to `levels`.
static int read_levels_f32(int8_t *levels, const float *w, int count, float unit) {
  int top = 0;
  for (int k = 0; k < count; ++k) {
    const int level = level_f32(fabsf(w[k]), unit);
    if (!level) return 0;
    levels[k] = (int8_t)(w[k] < 0 ? -level : level);
    top = level > top ? level : top;
  }
  return top;
}

static int read_levels_s8(int8_t *levels, const int8_t *w, int count, int unit) {
  int top = 0;
  for (int k = 0; k < count; ++k) {
    const int level = level_s8(abs(w[k]), unit);
    if (!level) return 0;
    levels[k] = (int8_t)(w[k] < 0 ? -level : level);
    top = level > top ? level : top;
  }
  return top;
}

// A dead channel: every weight the same in units of 0.
static int dead(int8_t *levels, int count) {
  memset(levels, 1, (size_t)count);
  return 1;
}

// The unit of a channel and its largest level, 0 if it has none: the least |w| is 1 unit, or 3, ...
static int find_unit_f32(int8_t *levels, const float *w, int count, float *unit) {
  float least = fabsf(w[0]), most = least;
  for (int k = 1; k < count; ++k) {
    least = fminf(least, fabsf(w[k]));
    most = fmaxf(most, fabsf(w[k]));
  }
  *unit = 0;
  if (most == 0) return dead(levels, count);
  if (!isfinite(most) || !(least > 0) || most > 99 * least) return 0;
  for (int j = 1; j <= hb_top_level(HB_MAX_BITS); j += 2) {
    const float near = least / (float)j;
    const float units[] = {near, nextafterf(near, 0), nextafterf(near, INFINITY)};
    for (int i = 0; i < (j == 1 ? 1 : 3); ++i) {
      *unit = units[i];
      const int top = *unit > 0 ? read_levels_f32(levels, w, count, *unit) : 0;
      if (top) return top;
    }
  }
  return 0;
}

static int find_unit_s8(int8_t *levels, const int8_t *w, int count, int32_t *unit) {
  int least = 128, most = 0;
  for (int k = 0; k < count; ++k) {
    least = abs(w[k]) < least ? abs(w[k]) : least;
    most = abs(w[k]) > most ? abs(w[k]) : most;
  }
  *unit = 0;
  if (most == 0) return dead(levels, count);
  for (int j = 1; least > 0 && j <= hb_top_level(HB_MAX_BITS); j += 2) {
    *unit = least / j;
    const int top = least % j == 0 ? read_levels_s8(levels, w, count, *unit) : 0;
    if (top) return top;
  }
  return 0;
}

// Codes of all weights from their levels, as few bits as the largest needs.
static void code_levels(hb_filter *f, int top) {
  const int64_t count = (int64_t)f->outputs * f->per_output;
  f->bits = 1;
  while (hb_top_level(f->bits) < top) ++f->bits;
  for (int64_t i = 0; i < count; ++i)
    f->codes[i] = (uint8_t)(((int8_t)f->codes[i] + hb_top_level(f->bits)) / 2);
}

// A constant's values; units of an int8 filter go to `units`.
static bool read_values(hb_filter *f, const void *values, bool is_float, int32_t *units,
                        const char **reason) {
  int most = 0;
  *reason = "its filter's values are not few odd multiples of one number per output channel";
  for (int o = 0; o < f->outputs; ++o) {
    const size_t at = (size_t)o * (size_t)f->per_output;
    int8_t *levels = (int8_t *)f->codes + at;
    const int top =
        is_float ? find_unit_f32(levels, (const float *)values + at, f->per_output, &f->alpha[o])
                 : find_unit_s8(levels, (const int8_t *)values + at, f->per_output, &units[o]);
    if (!top) return false;
    most = top > most ? top : most;
  }
  code_levels(f, most);
  return true;
}

// Per-channel scales along dimension 0 (or one for all), zero points 0.
static const tfl_floats *channel_scales(const tfl_tensor *t, int outputs) {
  if (t->quantization.type != TFL_QUANTIZATION_AFFINE || !t->quantization.params) return NULL;
  const tfl_affine *a = t->quantization.params;
  if (!a->scale || !a->zero_point || a->scale->size < 1 || a->zero_point->size < 1) return NULL;
  if (a->scale->size != 1 && (a->scale->size != outputs || a->quantized_dimension != 0))
    return NULL;
  for (int i = 0; i < a->zero_point->size; ++i)
    if (a->zero_point->data[i] != 0) return NULL;
  for (int i = 0; i < a->scale->size; ++i)
    if (!isfinite(a->scale->data[i]) || a->scale->data[i] < 0) return NULL;
  return a->scale;
}

// int8 constant -> DEQUANTIZE -> float filter. The runtime may keep the operator; nothing is lost.
static bool read_dequantized(hb_filter *f, const hb_graph *g, int index, const char **reason) {
  int node;
  const tfl_node *n = hb_producer(g, index, TFL_OP_DEQUANTIZE, 1, &node);
  *reason = "its filter is neither a constant nor built from one in a known way";
  if (!n) return false;
  const tfl_tensor *from = hb_tensor(g->context, n->inputs->data[0]);
  const tfl_tensor *to = hb_tensor(g->context, index);
  if (!hb_is_constant(from, TFL_INT8) || to->type != TFL_FLOAT32) return false;
  if (!hb_filter_shape(f, from, true, reason)) return false;
  const tfl_floats *scale = channel_scales(from, f->outputs);
  *reason = "its filter's scales are not one per output channel";
  if (!scale) return false;
  int32_t *magnitude = malloc((size_t)f->outputs * sizeof *magnitude);
  const bool ok = magnitude && read_values(f, from->data, false, magnitude, reason);
  for (int o = 0; ok && o < f->outputs; ++o)
    f->alpha[o] = (float)magnitude[o] * scale->data[scale->size == 1 ? 0 : o];
  free(magnitude);
  f->decode[0] = node;
  f->decode_count = 1;
  return ok;
}

bool hb_filter_read(hb_filter *f, const hb_graph *g, int index, const char **reason) {
  memset(f, 0, sizeof *f);
  const tfl_tensor *t = hb_tensor(g->context, index);
  bool ok = false;
  *reason = "its filter has a type this delegate does not take";
  if (t && (t->type == TFL_FLOAT32 || t->type == TFL_INT8)) {
    if (hb_is_constant(t, t->type)) {
      ok = hb_filter_shape(f, t, t->type == TFL_FLOAT32, reason) &&
           read_values(f, t->data, f->is_float, f->magnitude, reason);
    } else {
      ok = hb_filter_read_packed(f, g, index, false, reason);
      if (!ok && t->type == TFL_FLOAT32 && f->decode_count == 0)
        ok = read_dequantized(f, g, index, reason);
    }
  }
  if (ok && !f->is_float && !channel_scales(t, f->outputs)) {
    *reason = "its filter's scales are not one per output channel";
    ok = false;
  }
  if (!ok) hb_filter_release(f);
  return ok;
}
