// The packed forms of filters: planes of bits in 32-bit words, put together to codes by builtin
// operators (docs/format.md, version 2).
#include <math.h>
#include <string.h>

#include "../kernels/services.h"
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

// Bits of a code that chooses among `width` values, 0 if it is no such width.
static int bits_for(int width) {
  for (int bits = 1; bits <= HB_MAX_BITS; ++bits)
    if (width == 1 << bits) return bits;
  return 0;
}

// int8 values of output channel o, from the lowest level up: their unit goes to f->magnitude.
static bool read_integers(hb_filter *f, int o, const int8_t *values) {
  const int top = hb_top_level(f->bits), unit = values[top] / top;
  f->magnitude[o] = unit;
  for (int i = 0; i <= top; ++i)
    if (values[i] != unit * (2 * i - top)) return false;
  return unit >= 0;
}

// Constant values of each channel, [outputs, 2^bits], or [2^bits] for all.
static bool read_constants(hb_filter *f, const tfl_tensor *t) {
  const int width = t->dims->data[t->dims->size - 1];
  f->bits = bits_for(width);
  const bool shared = t->dims->size == 1;
  if (!f->bits || (!shared && (t->dims->size != 2 || t->dims->data[0] != f->outputs))) return false;
  for (int o = 0; o < f->outputs; ++o) {
    const int64_t at = shared ? 0 : (int64_t)o * width;
    if (!f->is_float) {
      if (!read_integers(f, o, (const int8_t *)t->data + at)) return false;
      continue;
    }
    const float *p = (const float *)t->data + at;
    f->alpha[o] = p[1];
    if (shared || width != 2 || !isfinite(p[1]) || p[1] < 0 || p[0] != -p[1]) return false;
  }
  return true;
}

// The levels of `bits` bits as floats.
static bool is_levels(const tfl_tensor *t, int bits) {
  if (!hb_is_constant(t, TFL_FLOAT32) || hb_elements(t) != 1 << bits) return false;
  for (int i = 0; i < 1 << bits; ++i)
    if (((const float *)t->data)[i] != (float)(2 * i - hb_top_level(bits))) return false;
  return true;
}

static bool read_scales(hb_filter *f, const tfl_tensor *scales) {
  if (!hb_is_constant(scales, TFL_FLOAT32) || hb_elements(scales) != f->outputs) return false;
  for (int o = 0; o < f->outputs; ++o) {
    f->alpha[o] = ((const float *)scales->data)[o];
    if (!isfinite(f->alpha[o]) || f->alpha[o] < 0) return false;
  }
  return true;
}

// A constant that TILE repeats `times` times along axis `axis` of `rank`, in which alone, or in the
// other of the last two, it has more than one element.
static const tfl_tensor *tiled(hb_filter *f, const hb_graph *g, int tensor, int axis, int times) {
  const tfl_node *n = step_back(f, g, &tensor, TFL_OP_TILE, 2);
  const tfl_tensor *from = n ? hb_tensor(g->context, tensor) : NULL;
  const tfl_tensor *multiples = n ? hb_tensor(g->context, n->inputs->data[1]) : NULL;
  if (!hb_is_constant(from, TFL_FLOAT32) || !hb_is_constant(multiples, TFL_INT32)) return NULL;
  const int rank = from->dims->size, at = rank - 2 + axis;
  if (rank < 2 || hb_elements(multiples) != rank) return NULL;
  for (int i = 0; i < rank; ++i) {
    if (((const int32_t *)multiples->data)[i] != (i == at ? times : 1)) return NULL;
    if ((i == at || i < rank - 2) && from->dims->data[i] != 1) return NULL;
  }
  return from;
}

// [outputs, 2^bits] <- RESHAPE <- MUL <- TILE (alpha of each channel), TILE (levels)
static bool read_table(hb_filter *f, const hb_graph *g, int tensor) {
  const tfl_tensor *t = hb_tensor(g->context, tensor);
  if (!f->is_float || hb_elements(t) < 1 || t->dims->size != 2 || t->dims->data[0] != f->outputs)
    return false;
  const int width = t->dims->data[1];
  f->bits = bits_for(width);
  if (!f->bits || !step_back(f, g, &tensor, TFL_OP_RESHAPE, 1)) return false;
  const tfl_node *n = step_back(f, g, &tensor, TFL_OP_MUL, 2);
  const tfl_mul_params *p = n ? n->builtin_data : NULL;
  if (!p || p->activation != TFL_ACT_NONE) return false;
  const tfl_tensor *scales = tiled(f, g, n->inputs->data[0], 1, width);
  const tfl_tensor *levels = scales ? tiled(f, g, n->inputs->data[1], 0, f->outputs) : NULL;
  return levels && read_scales(f, scales) && is_levels(levels, f->bits);
}

// What becomes of a number when a bit is put behind it: [2^bits, 2] of 0, 1, 2, ...
static bool is_doubled(const tfl_tensor *t, int bits) {
  if (!hb_is_constant(t, TFL_INT32) || hb_elements(t) != 2 << bits || t->dims->size != 2 ||
      t->dims->data[1] != 2)
    return false;
  for (int i = 0; i < 2 << bits; ++i)
    if (((const int32_t *)t->data)[i] != i) return false;
  return true;
}

static const tfl_node *gather(hb_filter *f, const hb_graph *g, int tensor, int axis) {
  const tfl_node *n = step_back(f, g, &tensor, TFL_OP_GATHER, 2);
  const tfl_gather_params *p = n ? n->builtin_data : NULL;
  return p && p->axis == axis && p->batch_dims == axis ? n : NULL;
}

// Numbers of f->bits bits: those of one bit less, doubled, and which of both the last plane says.
static bool read_numbers(hb_filter *f, const hb_graph *g, int tensor) {
  const int64_t count = (int64_t)f->outputs * f->per_output;
  memset(f->codes, 0, (size_t)count);
  for (int bits = f->bits; bits > 0; --bits) {
    const tfl_node *both = NULL, *chosen = bits > 1 ? gather(f, g, tensor, 2) : NULL;
    const uint32_t *words = NULL;
    if (bits == 1)
      words = find_words(f, g, tensor, count);
    else if (chosen && (both = gather(f, g, chosen->inputs->data[0], 0)) &&
             is_doubled(hb_tensor(g->context, both->inputs->data[0]), bits - 1))
      words = find_words(f, g, chosen->inputs->data[1], count);
    if (!words) return false;
    for (int64_t i = 0; i < count; ++i)
      f->codes[i] |= (uint8_t)((words[i / 32] >> (i % 32) & 1) << (f->bits - bits));
    if (both) tensor = both->inputs->data[1];
  }
  return true;
}

// A tensor of the filter's shape <- RESHAPE [<- STRIDED_SLICE <- RESHAPE] <- numbers
static bool read_codes(hb_filter *f, const hb_graph *g, int tensor) {
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
  return read_numbers(f, g, tensor);
}

// filter <- GATHER (values of each channel or of all, codes)
static bool read_rows(hb_filter *f, const hb_graph *g, int tensor, const char **reason) {
  int node;
  const tfl_node *n = hb_producer(g, tensor, TFL_OP_GATHER, 2, &node);
  const tfl_tensor *values = n ? hb_tensor(g->context, n->inputs->data[0]) : NULL;
  if (!values) return false;
  const bool constant = hb_is_constant(values, f->is_float ? TFL_FLOAT32 : TFL_INT8);
  if (!gather(f, g, tensor, constant && values->dims->size == 1 ? 0 : 1)) return false;
  *reason = "the values of its packed filter are not odd multiples of one per output channel";
  if (!(constant ? read_constants(f, values) : read_table(f, g, n->inputs->data[0]))) return false;
  *reason = "the operators that rebuild its packed filter are not the documented ones";
  return read_codes(f, g, n->inputs->data[1]);
}

// filter <- [MUL (scales) <-] GATHER (values of all channels, codes)
static bool read_depthwise(hb_filter *f, const hb_graph *g, int tensor) {
  const tfl_tensor *scales = NULL;
  if (f->is_float) {
    const tfl_node *n = step_back(f, g, &tensor, TFL_OP_MUL, 2);
    const tfl_mul_params *p = n ? n->builtin_data : NULL;
    if (!p || p->activation != TFL_ACT_NONE) return false;
    scales = hb_tensor(g->context, n->inputs->data[1]);
  }
  const tfl_node *n = gather(f, g, tensor, 0);
  const tfl_tensor *values = n ? hb_tensor(g->context, n->inputs->data[0]) : NULL;
  if (!hb_is_constant(values, f->is_float ? TFL_FLOAT32 : TFL_INT8) || values->dims->size != 1)
    return false;
  f->bits = bits_for(values->dims->data[0]);
  if (!f->bits) return false;
  if (f->is_float ? !is_levels(values, f->bits) || !read_scales(f, scales)
                  : !read_constants(f, values))
    return false;
  return read_codes(f, g, n->inputs->data[1]);
}

bool hb_filter_read_packed(hb_filter *f, const hb_graph *g, int index, bool depthwise,
                           const char **reason) {
  const tfl_tensor *t = hb_tensor(g->context, index);
  memset(f, 0, sizeof *f);
  f->channels_last = depthwise;
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
