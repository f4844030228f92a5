// The packed form of a filter: bits in 32-bit words, unpacked by builtin operators
// (docs/format.md).
#include <math.h>
#include <string.h>

#include "filter.h"

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
  const tfl_node *n = hb_producer(g, *tensor, code, inputs, &node);
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

// Which way the values of output channel o lie: -a, +a.
static bool read_pair(hb_filter *f, int o, const tfl_tensor *t, int64_t at) {
  if (f->is_float) {
    const float *p = (const float *)t->data + at;
    f->alpha[o] = p[1];
    return isfinite(p[1]) && p[1] >= 0 && p[0] == -p[1];
  }
  const int8_t *p = (const int8_t *)t->data + at;
  f->magnitude[o] = p[1];
  return p[1] >= 0 && p[0] == -p[1];
}

static bool read_pairs(hb_filter *f, const tfl_tensor *pairs) {
  if (!hb_is_constant(pairs, f->is_float ? TFL_FLOAT32 : TFL_INT8) || pairs->dims->size != 2 ||
      pairs->dims->data[0] != f->outputs || pairs->dims->data[1] != 2)
    return false;
  for (int o = 0; o < f->outputs; ++o)
    if (!read_pair(f, o, pairs, 2 * (int64_t)o)) return false;
  return true;
}

// The int8 values of a depthwise filter: one pair for all channels.
static bool read_one_pair(hb_filter *f, const tfl_tensor *pair) {
  if (!hb_is_constant(pair, TFL_INT8) || hb_elements(pair) != 2) return false;
  for (int o = 0; o < f->outputs; ++o)
    if (!read_pair(f, o, pair, 0)) return false;
  return true;
}

// The float values of a depthwise filter: -1 and +1, and what they are multiplied by.
static bool read_scales(hb_filter *f, const tfl_tensor *signs, const tfl_tensor *scales) {
  if (!hb_is_constant(signs, TFL_FLOAT32) || hb_elements(signs) != 2 ||
      ((const float *)signs->data)[0] != -1 || ((const float *)signs->data)[1] != 1 ||
      !hb_is_constant(scales, TFL_FLOAT32) || scales->dims->size != 1 ||
      hb_elements(scales) != f->outputs)
    return false;
  for (int o = 0; o < f->outputs; ++o) {
    f->alpha[o] = ((const float *)scales->data)[o];
    if (!isfinite(f->alpha[o]) || f->alpha[o] < 0) return false;
  }
  return true;
}

// A tensor of the filter's shape <- RESHAPE [<- STRIDED_SLICE <- RESHAPE] <- MUL <- MUL <- words.
static bool read_bits(hb_filter *f, const hb_graph *g, int tensor) {
  const int64_t count = (int64_t)f->outputs * f->per_output;
  // It chooses between values row by row, so it must have the filter's shape.
  const tfl_tensor *shaped = hb_tensor(g->context, tensor);
  if (hb_elements(shaped) != count || shaped->dims->size != f->rank ||
      memcmp(shaped->dims->data, f->dims, (size_t)f->rank * sizeof(int)) != 0)
    return false;
  if (!step_back(f, g, &tensor, TFL_OP_RESHAPE, 1)) return false;
  if (count % 32 != 0) {
    const tfl_node *n = step_back(f, g, &tensor, TFL_OP_STRIDED_SLICE, 4);
    if (!n || !takes_first(g, n, count)) return false;
    if (!step_back(f, g, &tensor, TFL_OP_RESHAPE, 1)) return false;
  }
  const uint32_t *words = find_words(f, g, tensor, count);
  for (int64_t i = 0; words && i < count; ++i) f->codes[i] = words[i / 32] >> (i % 32) & 1;
  return words != NULL;
}

// filter <- GATHER (values of each channel, bits)
static bool read_rows(hb_filter *f, const hb_graph *g, int tensor, const char **reason) {
  const tfl_node *n = step_back(f, g, &tensor, TFL_OP_GATHER, 2);
  const tfl_gather_params *p = n ? n->builtin_data : NULL;
  if (!p || p->axis != 1 || p->batch_dims != 1) return false;
  *reason = "the operators that rebuild its packed filter are not the documented ones";
  if (!read_bits(f, g, n->inputs->data[1])) return false;
  *reason = "the values of its packed filter are not -a, +a per output channel";
  return read_pairs(f, hb_tensor(g->context, n->inputs->data[0]));
}

// filter <- [MUL (scales) <-] GATHER (two values, bits)
static bool read_depthwise(hb_filter *f, const hb_graph *g, int tensor) {
  const tfl_tensor *scales = NULL;
  if (f->is_float) {
    const tfl_node *n = step_back(f, g, &tensor, TFL_OP_MUL, 2);
    const tfl_mul_params *p = n ? n->builtin_data : NULL;
    if (!p || p->activation != TFL_ACT_NONE) return false;
    scales = hb_tensor(g->context, n->inputs->data[1]);
  }
  const tfl_node *n = step_back(f, g, &tensor, TFL_OP_GATHER, 2);
  const tfl_gather_params *p = n ? n->builtin_data : NULL;
  if (!p || p->axis != 0 || p->batch_dims != 0) return false;
  const tfl_tensor *values = hb_tensor(g->context, n->inputs->data[0]);
  return (f->is_float ? read_scales(f, values, scales) : read_one_pair(f, values)) &&
         read_bits(f, g, n->inputs->data[1]);
}

bool hb_filter_read_packed(hb_filter *f, const hb_graph *g, int index, bool depthwise,
                           const char **reason) {
  const tfl_tensor *t = hb_tensor(g->context, index);
  memset(f, 0, sizeof *f);
  f->channels_last = depthwise;
  f->bits = 1;
  *reason = "its filter is neither a constant nor built from one in a known way";
  if (t && g->producer[index] >= 0 && !hb_is_constant(t, t->type) &&
      (t->type == TFL_FLOAT32 || t->type == TFL_INT8) &&
      hb_filter_shape(f, t, t->type == TFL_FLOAT32, reason)) {
    *reason = "its filter is neither a constant nor built from one in a known way";
    if (depthwise ? read_depthwise(f, g, index) : read_rows(f, g, index, reason)) return true;
  }
  hb_filter_release(f);
  return false;
}
