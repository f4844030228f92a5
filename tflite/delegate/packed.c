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
bool hb_filter_read_packed(hb_filter *f, const hb_graph *g, int index, const char **reason) {
  const tfl_tensor *t = hb_tensor(g->context, index);
  int tensor = index;
  const tfl_node *n = step_back(f, g, &tensor, TFL_OP_GATHER, 2);
  *reason = "its filter is neither a constant nor built from one in a known way";
  const tfl_gather_params *p = n ? n->builtin_data : NULL;
  if (!p || p->axis != 1 || p->batch_dims != 1) return false;
  const tfl_tensor *pairs = hb_tensor(g->context, n->inputs->data[0]);
  tensor = n->inputs->data[1];
  if (!hb_filter_shape(f, t, t->type == TFL_FLOAT32, reason)) return false;
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
