// Recognising filters: constants, dequantised constants, and what packed.c recognises.
#include "filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void hb_filter_release(hb_filter *f) {
  free(f->bits);
  free(f->alpha);
  free(f->magnitude);
  f->bits = NULL;
  f->alpha = NULL;
  f->magnitude = NULL;
}

// Dims, and room for bits and one value per output channel.
bool hb_filter_shape(hb_filter *f, const tfl_tensor *t, bool is_float, const char **reason) {
  const int64_t n = hb_elements(t);
  *reason = "its filter's shape is not sound";
  if (n < 1 || (t->dims->size != 2 && t->dims->size != 4)) return false;
  f->rank = t->dims->size;
  memcpy(f->dims, t->dims->data, (size_t)f->rank * sizeof(int));
  f->per_output = (int)(n / f->dims[0]);
  f->is_float = is_float;
  f->bits = malloc((size_t)n);
  if (is_float)
    f->alpha = malloc((size_t)f->dims[0] * sizeof *f->alpha);
  else
    f->magnitude = malloc((size_t)f->dims[0] * sizeof *f->magnitude);
  *reason = "there is no memory for its filter";
  return f->bits && (is_float ? (void *)f->alpha : (void *)f->magnitude);
}

static bool read_float(hb_filter *f, const float *w, const char **reason) {
  *reason = "its filter has more than two values in an output channel";
  for (int o = 0; o < f->dims[0]; ++o, w += f->per_output) {
    const float a = fabsf(w[0]);
    if (!isfinite(a)) return false;
    for (int k = 0; k < f->per_output; ++k) {
      if (fabsf(w[k]) != a) return false;
      f->bits[(size_t)o * (size_t)f->per_output + (size_t)k] = w[k] > 0;
    }
    f->alpha[o] = a;
  }
  return true;
}

// int8 codes; their magnitude per channel goes to `magnitude`.
static bool read_codes(uint8_t *bits, int32_t *magnitude, int outputs, int per_output,
                       const int8_t *w, const char **reason) {
  *reason = "its filter has more than two values in an output channel";
  for (int o = 0; o < outputs; ++o, w += per_output, bits += per_output) {
    const int a = abs(w[0]);
    for (int k = 0; k < per_output; ++k) {
      if (abs(w[k]) != a) return false;
      bits[k] = w[k] > 0;
    }
    magnitude[o] = a;
  }
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
  const tfl_floats *scale = channel_scales(from, f->dims[0]);
  *reason = "its filter's scales are not one per output channel";
  if (!scale) return false;
  int32_t *magnitude = malloc((size_t)f->dims[0] * sizeof *magnitude);
  bool ok =
      magnitude && read_codes(f->bits, magnitude, f->dims[0], f->per_output, from->data, reason);
  for (int o = 0; ok && o < f->dims[0]; ++o)
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
           (f->is_float
                ? read_float(f, t->data, reason)
                : read_codes(f->bits, f->magnitude, f->dims[0], f->per_output, t->data, reason));
    } else {
      ok = hb_filter_read_packed(f, g, index, reason);
      if (!ok && t->type == TFL_FLOAT32 && f->decode_count == 0) {
        hb_filter_release(f);
        memset(f, 0, sizeof *f);
        ok = read_dequantized(f, g, index, reason);
      }
    }
  }
  if (ok && !f->is_float && !channel_scales(t, f->dims[0])) {
    *reason = "its filter's scales are not one per output channel";
    ok = false;
  }
  if (!ok) hb_filter_release(f);
  return ok;
}
