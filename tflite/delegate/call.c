// Running a claimed layer on inputs of the shapes at hand.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/services.h"
#include "layer.h"

// Output extent and padding before the image, as TFLite computes them.
static bool window(const hb_layer *l, int64_t in, int64_t k, int64_t stride, int64_t dilation,
                   int *out, int *before) {
  const int64_t reach = (k - 1) * dilation + 1;
  int64_t n;
  *before = 0;
  if (l->padding == TFL_PADDING_SAME) {
    n = (in + stride - 1) / stride;
    const int64_t pad = (n - 1) * stride + reach - in;
    *before = pad > 0 ? (int)(pad / 2) : 0;
  } else {
    n = (in - reach + stride) / stride;
  }
  *out = (int)n;
  return in >= 1 && n >= 1 && (l->padding == TFL_PADDING_SAME || in >= reach);
}

static bool conv_call(const hb_layer *l, const tfl_tensor *x, hb_call *c) {
  const int *d = x->dims->data;
  hb_conv_geometry *g = &c->geometry;
  if (x->dims->size != 4 || d[3] != l->in_c) {
    hb_fail("the input of a convolution of %d channels has another shape", l->in_c);
    return false;
  }
  *g = (hb_conv_geometry){.batch = d[0],
                          .in_h = d[1],
                          .in_w = d[2],
                          .in_c = l->in_c,
                          .out_c = l->out_c,
                          .k_h = l->k_h,
                          .k_w = l->k_w,
                          .stride_h = l->stride_h,
                          .stride_w = l->stride_w,
                          .dilation_h = l->dilation_h,
                          .dilation_w = l->dilation_w};
  if (!window(l, d[1], l->k_h, l->stride_h, l->dilation_h, &g->out_h, &g->pad_top) ||
      !window(l, d[2], l->k_w, l->stride_w, l->dilation_w, &g->out_w, &g->pad_left)) {
    hb_fail("an image of %d x %d is smaller than the %d x %d filter", d[1], d[2], l->k_h, l->k_w);
    return false;
  }
  c->rank = 4;
  const int dims[4] = {d[0], g->out_h, g->out_w, l->out_c};
  memcpy(c->dims, dims, sizeof dims);
  return true;
}

// Rows from which a 1x1 convolution over them is faster than one row at a time.
static int many_rows(const hb_layer *l) { return l->is_float ? 6 : 9; }

static bool dense_call(const hb_layer *l, const tfl_tensor *x, hb_call *c) {
  const int rank = x->dims->size;
  const int64_t rows = c->x_elements / l->in_c;
  if (c->x_elements % l->in_c != 0 || rows < 1 || rank < 1) {
    hb_fail("a Dense layer of %d inputs gets %lld values", l->in_c, (long long)c->x_elements);
    return false;
  }
  c->batch = (int)rows;
  c->as_conv = rows >= many_rows(l);
  c->geometry = (hb_conv_geometry){.batch = 1,
                                   .in_h = 1,
                                   .in_w = c->batch,
                                   .in_c = l->in_c,
                                   .out_h = 1,
                                   .out_w = c->batch,
                                   .out_c = l->out_c,
                                   .k_h = 1,
                                   .k_w = 1,
                                   .stride_h = 1,
                                   .stride_w = 1,
                                   .dilation_h = 1,
                                   .dilation_w = 1};
  if (!l->keep_dims) {
    c->rank = 2;
    c->dims[0] = c->batch;
    c->dims[1] = l->out_c;
    return true;
  }
  if (x->dims->data[rank - 1] != l->in_c) {
    hb_fail("a Dense layer of %d inputs gets rows of %d", l->in_c, x->dims->data[rank - 1]);
    return false;
  }
  c->rank = rank;
  memcpy(c->dims, x->dims->data, (size_t)rank * sizeof(int));
  c->dims[rank - 1] = l->out_c;
  return true;
}

hb_conv *hb_layer_conv(const hb_layer *l, const uint8_t *codes) {
  const hb_conv_filter f = {l->is_float ? HB_F32 : HB_S8,
                            l->bits,
                            l->out_c,
                            l->k_h,
                            l->k_w,
                            l->in_c,
                            l->dilation_h,
                            l->dilation_w};
  return hb_conv_create(&f, codes);
}

// Dense weights are kept in the form the number of rows asks for, and only in that one.
static bool pack_dense_layer(hb_layer *l, bool as_conv) {
  if (as_conv ? l->conv != NULL : l->dense != NULL) return true;
  uint8_t *codes = hb_alloc((size_t)l->out_c * (size_t)l->in_c);
  if (!codes) return false;
  if (as_conv) {
    hb_dense_codes(l->dense, codes);
    l->conv = hb_layer_conv(l, codes);
    if (l->conv) hb_dense_destroy(l->dense), l->dense = NULL;
  } else {
    hb_conv_codes(l->conv, codes);
    l->dense = hb_dense_create(l->out_c, l->in_c, l->bits, codes);
    if (l->dense) hb_conv_destroy(l->conv), l->conv = NULL;
  }
  free(codes);
  return as_conv ? l->conv != NULL : l->dense != NULL;
}

bool hb_layer_call(hb_layer *l, const tfl_tensor *x, hb_call *c) {
  memset(c, 0, sizeof *c);
  c->x_elements = hb_elements(x);
  if (c->x_elements < 1 || x->type != (l->is_float ? TFL_FLOAT32 : TFL_INT8)) {
    hb_fail("the input of a claimed layer has an unsound shape or another type");
    return false;
  }
  if (l->is_conv ? !conv_call(l, x, c) : !dense_call(l, x, c)) return false;
  c->y_elements = 1;
  for (int i = 0; i < c->rank; ++i) {
    if (c->dims[i] > INT32_MAX / c->y_elements) {
      hb_fail("the output of a claimed layer has more than 2^31 elements");
      return false;
    }
    c->y_elements *= c->dims[i];
  }
  return l->is_conv || pack_dense_layer(l, c->as_conv);
}

size_t hb_layer_workspace(const hb_layer *l, const hb_call *c, int threads) {
  return l->is_conv || c->as_conv ? hb_conv_workspace(l->conv, &c->geometry, threads)
                                  : hb_dense_workspace(l->dense);
}

int hb_layer_run(const hb_layer *l, const hb_call *c, const void *x, void *y, void *workspace,
                 hb_pool *pool) {
  const bool conv = l->is_conv || c->as_conv;
  if (l->is_float) {
    const bool relu = l->activation == TFL_ACT_RELU || l->activation == TFL_ACT_RELU6;
    const bool unit = l->activation == TFL_ACT_RELU_N1_TO_1;
    const hb_scale s = {.lo = relu   ? 0
                              : unit ? -1
                                     : -INFINITY,
                        .hi = l->activation == TFL_ACT_RELU6 ? 6
                              : unit                         ? 1
                                                             : INFINITY,
                        .bias = l->bias,
                        .alpha = l->alpha};
    return conv ? hb_conv_f32(l->conv, &c->geometry, &s, x, y, workspace, pool)
                : hb_dense_f32(l->dense, c->batch, &s, x, y, workspace, pool);
  }
  const hb_requant r = {.in_zero = l->in_zero,
                        .out_zero = l->out_zero,
                        .lo = l->lo,
                        .hi = l->hi,
                        .bias = l->bias_q,
                        .magnitude = l->magnitude,
                        .multiplier = l->multiplier};
  return conv ? hb_conv_s8(l->conv, &c->geometry, &r, x, y, workspace, pool)
              : hb_dense_s8(l->dense, c->batch, &r, x, y, workspace, pool);
}
