// From an operator to a layer: everything is checked and copied.
#include "layer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "policy.h"

void hb_layer_free(hb_layer *l) {
  if (!l) return;
  free(l->alpha);
  free(l->bias);
  free(l->magnitude);
  free(l->bias_q);
  free(l->multiplier);
  hb_conv_destroy(l->conv);
  hb_dense_destroy(l->dense);
  free(l);
}

static bool known_activation(int a) {
  return a == TFL_ACT_NONE || a == TFL_ACT_RELU || a == TFL_ACT_RELU_N1_TO_1 || a == TFL_ACT_RELU6;
}

static bool read_conv_options(hb_layer *l, const tfl_conv_params *p) {
  if (!p || (p->padding != TFL_PADDING_SAME && p->padding != TFL_PADDING_VALID)) return false;
  l->padding = p->padding;
  l->stride_h = p->stride_h;
  l->stride_w = p->stride_w;
  l->dilation_h = p->dilation_h;
  l->dilation_w = p->dilation_w;
  l->activation = p->activation;
  return p->stride_h > 0 && p->stride_w > 0 && p->dilation_h > 0 && p->dilation_w > 0;
}

static bool read_dense_options(hb_layer *l, const tfl_fully_connected_params *p) {
  if (!p || p->weights_format != 0) return false;
  l->activation = p->activation;
  l->keep_dims = p->keep_num_dims != 0;
  l->stride_h = l->stride_w = l->dilation_h = l->dilation_w = 1;
  l->padding = TFL_PADDING_VALID;
  return true;
}

// The range a fused activation leaves of int8 outputs, as TFLite rounds it.
static void clamp_s8(hb_layer *l, float scale) {
  const float lower = l->activation == TFL_ACT_RELU_N1_TO_1 ? -1.f : 0.f;
  const float upper = l->activation == TFL_ACT_RELU_N1_TO_1 ? 1.f : 6.f;
  const float lo = (float)l->out_zero + roundf(lower / scale);
  const float hi = (float)l->out_zero + roundf(upper / scale);
  l->lo = l->activation != TFL_ACT_NONE && lo > -128 ? (int)lo : -128;
  l->hi = (l->activation == TFL_ACT_RELU6 || l->activation == TFL_ACT_RELU_N1_TO_1) && hi < 127
              ? (int)hi
              : 127;
  if (l->lo > 127) l->lo = 127;
  if (l->hi < -128) l->hi = -128;
}

static bool is_zero_point(int32_t z) { return z >= -128 && z <= 127; }

static bool positive(float f) { return isfinite(f) && f > 0; }

static bool read_requant(hb_layer *l, const tfl_tensor *x, const tfl_tensor *w,
                         const tfl_tensor *y) {
  const float in = x->params.scale, out = y->params.scale;
  const tfl_affine *affine = w->quantization.params;
  if (!positive(in) || !positive(out) || !is_zero_point(x->params.zero_point) ||
      !is_zero_point(y->params.zero_point))
    return false;
  l->in_zero = x->params.zero_point;
  l->out_zero = y->params.zero_point;
  clamp_s8(l, out);
  l->multiplier = malloc((size_t)l->out_c * sizeof *l->multiplier);
  for (int o = 0; l->multiplier && o < l->out_c; ++o) {
    const float scale = affine->scale->data[affine->scale->size == 1 ? 0 : o];
    l->multiplier[o] = in * scale / out;
    if (!isfinite(l->multiplier[o])) return false;
  }
  // Sums of 255 * 127 over more weights than this would leave 32 bits.
  return l->multiplier && (int64_t)l->k_h * l->k_w * l->in_c <= INT32_MAX / (255 * 128);
}

static bool read_bias(hb_layer *l, const tfl_tensor *b) {
  if (!b) return true;
  if (!hb_is_constant(b, l->is_float ? TFL_FLOAT32 : TFL_INT32) || hb_elements(b) != l->out_c)
    return false;
  const size_t bytes = (size_t)l->out_c * 4;
  void *copy = malloc(bytes);
  if (!copy) return false;
  memcpy(copy, b->data, bytes);
  if (l->is_float)
    l->bias = copy;
  else
    l->bias_q = copy;
  return true;
}

static bool take_filter(hb_layer *l, const hb_graph *g, hb_filter *f, int tensor) {
  l->out_c = f->dims[0];
  l->bits = f->bits;
  l->k_h = l->is_conv ? f->dims[1] : 1;
  l->k_w = l->is_conv ? f->dims[2] : 1;
  l->in_c = f->dims[f->rank - 1];
  // Operators that rebuild the filter go with the layer unless another layer reads it, too.
  if (g->uses[tensor] == 1) {
    l->decode_count = f->decode_count;
    memcpy(l->decode, f->decode, sizeof l->decode);
  }
  l->alpha = f->alpha;
  l->magnitude = f->magnitude;
  f->alpha = NULL;
  f->magnitude = NULL;
  if (l->is_conv)
    l->conv = hb_layer_conv(l, f->codes);
  else
    l->dense = hb_dense_create(l->out_c, l->in_c, l->bits, f->codes);
  return l->conv || l->dense;
}

static bool fill_layer(hb_layer *l, const hb_graph *g, const tfl_node *n, bool force,
                       const char **reason) {
  const tfl_context *c = g->context;
  *reason = "its operands are not sound";
  if (!n->inputs || !n->outputs || n->inputs->size < 2 || n->outputs->size != 1) return false;
  const int b = n->inputs->size > 2 ? n->inputs->data[2] : -1;
  l->x = n->inputs->data[0];
  l->y = n->outputs->data[0];
  const tfl_tensor *x = hb_tensor(c, l->x), *y = hb_tensor(c, l->y);
  const tfl_tensor *w = hb_tensor(c, n->inputs->data[1]);
  if (!x || !y || !w || x == y || y == w || x == w || y->allocation_type == TFL_ALLOCATED_IN_FILE ||
      y->is_variable || x->is_variable || (b >= 0 && (!hb_tensor(c, b) || b == l->y)))
    return false;
  *reason = "its activations are neither float32 nor int8 throughout";
  if (x->type != w->type || y->type != w->type) return false;
  *reason = "its options are not known";
  if (l->is_conv ? !read_conv_options(l, n->builtin_data) : !read_dense_options(l, n->builtin_data))
    return false;
  if (!known_activation(l->activation)) return false;
  hb_filter f;
  if (!hb_filter_read(&f, g, n->inputs->data[1], reason)) return false;
  l->is_float = f.is_float;
  bool ok = f.rank == (l->is_conv ? 4 : 2);
  *reason = "its filter's shape is not sound";
  // Grouped convolution: fewer channels in the filter than in the image.
  if (ok && l->is_conv && (!x->dims || x->dims->size != 4 || x->dims->data[3] != f.dims[3])) {
    *reason = "it is a grouped convolution";
    ok = false;
  }
  if (ok) {
    *reason = hb_error();
    ok = take_filter(l, g, &f, n->inputs->data[1]);
  }
  if (ok && !force && !hb_worth_it(l)) {
    *reason = "the runtime's kernel is faster here";
    ok = false;
  }
  if (ok && !read_bias(l, hb_tensor(c, b))) {
    *reason = "its bias is not a constant of the right type and size";
    ok = false;
  }
  if (ok && !l->is_float && !read_requant(l, x, w, y)) {
    *reason = "its quantisation parameters are not sound";
    ok = false;
  }
  hb_filter_release(&f);
  return ok;
}

hb_layer *hb_layer_read(const hb_graph *g, int node, bool force, const char **reason) {
  tfl_node *n;
  tfl_registration *r;
  *reason = NULL;
  if (g->context->get_node_and_registration(g->context, node, &n, &r) != TFL_OK || !n || !r ||
      (r->builtin_code != TFL_OP_CONV_2D && r->builtin_code != TFL_OP_FULLY_CONNECTED))
    return NULL;
  hb_layer *l = calloc(1, sizeof *l);
  if (!l) return NULL;
  l->node = node;
  l->is_conv = r->builtin_code == TFL_OP_CONV_2D;
  if (fill_layer(l, g, n, force, reason)) return l;
  hb_layer_free(l);
  return NULL;
}
