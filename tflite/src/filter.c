#include "filter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const tfl_tensor *hb_tensor(const tfl_context *c, int index) {
  return index >= 0 && (size_t)index < c->tensors_size ? &c->tensors[index] : NULL;
}

static size_t type_size(int type) {
  return type == TFL_FLOAT32 || type == TFL_INT32 ? 4 : type == TFL_INT8 ? 1 : 0;
}

int64_t hb_elements(const tfl_tensor *t) {
  if (!t || !t->dims || t->dims->size < 0 || t->dims->size > 8 || !type_size(t->type)) return -1;
  int64_t n = 1;
  for (int i = 0; i < t->dims->size; ++i) {
    if (t->dims->data[i] < 1 || t->dims->data[i] > INT32_MAX / n) return -1;
    n *= t->dims->data[i];
  }
  return n;
}

bool hb_is_constant(const tfl_tensor *t, int type) {
  if (!t || t->type != type || t->allocation_type != TFL_ALLOCATED_IN_FILE || !t->data)
    return false;
  const int64_t n = hb_elements(t);
  return n > 0 && t->bytes == (size_t)n * type_size(type) &&
         (uintptr_t)t->data % type_size(type) == 0;
}

bool hb_graph_init(hb_graph *g, tfl_context *c, const tfl_ints *plan) {
  g->context = c;
  g->producer = malloc((c->tensors_size + 1) * sizeof(int));
  g->uses = calloc(c->tensors_size + 1, sizeof(int));
  if (!g->producer || !g->uses) return hb_graph_release(g), false;
  for (size_t i = 0; i < c->tensors_size; ++i) g->producer[i] = -1;
  for (int i = 0; i < plan->size; ++i) {
    tfl_node *n;
    tfl_registration *r;
    if (c->get_node_and_registration(c, plan->data[i], &n, &r) != TFL_OK || !n) continue;
    for (int k = 0; n->inputs && k < n->inputs->size; ++k)
      if (hb_tensor(c, n->inputs->data[k])) ++g->uses[n->inputs->data[k]];
    for (int k = 0; n->outputs && k < n->outputs->size; ++k)
      if (hb_tensor(c, n->outputs->data[k])) {
        int *p = &g->producer[n->outputs->data[k]];
        *p = *p == -1 ? plan->data[i] : -2;
      }
  }
  return true;
}

void hb_graph_release(hb_graph *g) {
  free(g->producer);
  free(g->uses);
  g->producer = g->uses = NULL;
}

void hb_filter_release(hb_filter *f) {
  free(f->bits);
  free(f->alpha);
  free(f->magnitude);
  f->bits = NULL;
  f->alpha = NULL;
  f->magnitude = NULL;
}

// Dims, and room for bits and one value per output channel.
static bool shape_filter(hb_filter *f, const tfl_tensor *t, bool is_float, const char **reason) {
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

static tfl_node *producer_of(const hb_graph *g, int tensor, int code, int inputs, int *index) {
  tfl_node *n;
  tfl_registration *r;
  tfl_context *c = g->context;
  if (!hb_tensor(c, tensor) || g->producer[tensor] < 0) return NULL;
  *index = g->producer[tensor];
  if (c->get_node_and_registration(c, *index, &n, &r) != TFL_OK || !n || !r) return NULL;
  if (r->builtin_code != code || !n->inputs || n->inputs->size < inputs || !n->outputs ||
      n->outputs->size != 1)
    return NULL;
  return n;
}

// int8 constant -> DEQUANTIZE -> float filter. The runtime may keep the operator; nothing is lost.
static bool read_dequantized(hb_filter *f, const hb_graph *g, int index, const char **reason) {
  int node;
  const tfl_node *n = producer_of(g, index, TFL_OP_DEQUANTIZE, 1, &node);
  *reason = "its filter is neither a constant nor built from one in a known way";
  if (!n) return false;
  const tfl_tensor *from = hb_tensor(g->context, n->inputs->data[0]);
  const tfl_tensor *to = hb_tensor(g->context, index);
  if (!hb_is_constant(from, TFL_INT8) || to->type != TFL_FLOAT32) return false;
  if (!shape_filter(f, from, true, reason)) return false;
  const tfl_floats *scale = channel_scales(from, f->dims[0]);
  *reason = "its filter's scales are not one per output channel";
  if (!scale) return false;
  int32_t *magnitude = malloc((size_t)f->dims[0] * sizeof *magnitude);
  bool ok = magnitude && read_codes(f->bits, magnitude, f->dims[0], f->per_output, from->data,
                                    reason);
  for (int o = 0; ok && o < f->dims[0]; ++o)
    f->alpha[o] = (float)magnitude[o] * scale->data[scale->size == 1 ? 0 : o];
  free(magnitude);
  f->decode[0] = node;
  f->decode_count = 1;
  return ok;
}

static bool is_one_value(const tfl_tensor *t, int32_t value) {
  return hb_is_constant(t, TFL_INT32) && hb_elements(t) == 1 && *(const int32_t *)t->data == value;
}

static bool is_powers(const tfl_tensor *t) {
  if (!hb_is_constant(t, TFL_INT32) || hb_elements(t) != 32 || t->dims->size != 2 ||
      t->dims->data[1] != 32)
    return false;
  for (int k = 0; k < 32; ++k)
    if (((const uint32_t *)t->data)[k] != 1u << (31 - k)) return false;
  return true;
}

// One step back through the packed pattern: the node that writes *tensor, whose result nothing else
// reads; *tensor becomes its first input.
static const tfl_node *step_back(hb_filter *f, const hb_graph *g, int *tensor, int code,
                                 int inputs) {
  int node;
  const tfl_node *n = producer_of(g, *tensor, code, inputs, &node);
  if (!n || f->decode_count >= HB_DECODE_NODES) return NULL;
  if (f->decode_count > 0 && g->uses[*tensor] != 1) return NULL;
  f->decode[f->decode_count++] = node;
  *tensor = n->inputs->data[0];
  return n;
}

// The first `n` elements of a flat tensor.
static bool takes_first(const hb_graph *g, const tfl_node *n, int64_t count) {
  const tfl_strided_slice_params *p = n->builtin_data;
  return p && !p->begin_mask && !p->end_mask && !p->ellipsis_mask && !p->new_axis_mask &&
         !p->shrink_axis_mask && count <= INT32_MAX &&
         is_one_value(hb_tensor(g->context, n->inputs->data[1]), 0) &&
         is_one_value(hb_tensor(g->context, n->inputs->data[2]), (int32_t)count) &&
         is_one_value(hb_tensor(g->context, n->inputs->data[3]), 1);
}

// words MUL powers, clamped to [-1, 1]; MUL -1, clamped to [0, 6]: bit k of a word at element k.
static const uint32_t *find_words(hb_filter *f, const hb_graph *g, int tensor, int64_t count) {
  tfl_context *c = g->context;
  const tfl_node *n = step_back(f, g, &tensor, TFL_OP_MUL, 2);
  const tfl_mul_params *p = n ? n->builtin_data : NULL;
  if (!p || p->activation != TFL_ACT_RELU6 || !is_one_value(hb_tensor(c, n->inputs->data[1]), -1))
    return NULL;
  n = step_back(f, g, &tensor, TFL_OP_MUL, 2);
  p = n ? n->builtin_data : NULL;
  if (!p || p->activation != TFL_ACT_RELU_N1_TO_1 || !is_powers(hb_tensor(c, n->inputs->data[1])))
    return NULL;
  const tfl_tensor *words = hb_tensor(c, tensor);
  if (!hb_is_constant(words, TFL_INT32) || words->dims->size != 2 || words->dims->data[1] != 1 ||
      hb_elements(words) != (count + 31) / 32)
    return NULL;
  return words->data;
}

static bool read_pairs(hb_filter *f, const tfl_tensor *pairs, const char **reason) {
  *reason = "the values of its packed filter are not -a, +a per output channel";
  if (!hb_is_constant(pairs, f->is_float ? TFL_FLOAT32 : TFL_INT8) || pairs->dims->size != 2 ||
      pairs->dims->data[0] != f->dims[0] || pairs->dims->data[1] != 2)
    return false;
  for (int o = 0; o < f->dims[0]; ++o) {
    if (f->is_float) {
      const float *p = (const float *)pairs->data + 2 * o;
      if (!isfinite(p[1]) || p[1] < 0 || p[0] != -p[1]) return false;
      f->alpha[o] = p[1];
    } else {
      const int8_t *p = (const int8_t *)pairs->data + 2 * o;
      if (p[1] < 0 || p[0] != -p[1]) return false;
      f->magnitude[o] = p[1];
    }
  }
  return true;
}

// The packed form of docs/format.md: GATHER <- RESHAPE [<- STRIDED_SLICE <- RESHAPE] <- MUL <- MUL.
static bool read_packed(hb_filter *f, const hb_graph *g, int index, const char **reason) {
  const tfl_tensor *t = hb_tensor(g->context, index);
  int tensor = index;
  const tfl_node *n = step_back(f, g, &tensor, TFL_OP_GATHER, 2);
  *reason = "its filter is neither a constant nor built from one in a known way";
  const tfl_gather_params *p = n ? n->builtin_data : NULL;
  if (!p || p->axis != 1 || p->batch_dims != 1) return false;
  const tfl_tensor *pairs = hb_tensor(g->context, n->inputs->data[0]);
  tensor = n->inputs->data[1];
  if (!shape_filter(f, t, t->type == TFL_FLOAT32, reason)) return false;
  const int64_t count = (int64_t)f->dims[0] * f->per_output;
  *reason = "the operators that rebuild its packed filter are not the documented ones";
  // The result of the last RESHAPE indexes `pairs` row by row, so it must have the filter's shape.
  const tfl_tensor *shaped = hb_tensor(g->context, tensor);
  if (hb_elements(shaped) != count || shaped->dims->size != f->rank ||
      memcmp(shaped->dims->data, f->dims, (size_t)f->rank * sizeof(int)) != 0)
    return false;
  if (!step_back(f, g, &tensor, TFL_OP_RESHAPE, 1)) return false;
  if (count % 32 != 0) {
    n = step_back(f, g, &tensor, TFL_OP_STRIDED_SLICE, 4);
    if (!n || !takes_first(g, n, count)) return false;
    if (!step_back(f, g, &tensor, TFL_OP_RESHAPE, 1)) return false;
  }
  const uint32_t *words = find_words(f, g, tensor, count);
  if (!words || !read_pairs(f, pairs, reason)) return false;
  for (int64_t i = 0; i < count; ++i) f->bits[i] = words[i / 32] >> (i % 32) & 1;
  f->is_decoded = true;
  return true;
}

bool hb_filter_read(hb_filter *f, const hb_graph *g, int index, const char **reason) {
  memset(f, 0, sizeof *f);
  const tfl_tensor *t = hb_tensor(g->context, index);
  bool ok = false;
  *reason = "its filter has a type this delegate does not take";
  if (t && (t->type == TFL_FLOAT32 || t->type == TFL_INT8)) {
    if (hb_is_constant(t, t->type)) {
      ok = shape_filter(f, t, t->type == TFL_FLOAT32, reason) &&
           (f->is_float ? read_float(f, t->data, reason)
                        : read_codes(f->bits, f->magnitude, f->dims[0], f->per_output, t->data,
                                     reason));
    } else {
      ok = read_packed(f, g, index, reason);
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
