// One claimed CONV_2D or FULLY_CONNECTED: everything it needs from the file, checked and copied.
#ifndef HB_LAYER_H
#define HB_LAYER_H

#include "filter.h"
#include "hashbwn.h"

typedef struct {
  int node;  // index of the operator
  int x, y;  // tensor indices
  bool is_conv, is_float;
  int in_c, out_c, k_h, k_w, bits;
  int padding, stride_h, stride_w, dilation_h, dilation_w, activation;
  bool keep_dims;       // Dense: the output keeps the input's leading dimensions
  float *alpha, *bias;  // float: [out_c], bias may be NULL
  int32_t *magnitude, *bias_q;
  float *multiplier;  // int8: [out_c]
  int in_zero, lo, hi, out_zero;
  hb_conv *conv;    // a convolution, or Dense of many rows as a 1x1 convolution
  hb_dense *dense;  // Dense of few rows
  int decode[HB_DECODE_NODES], decode_count;
} hb_layer;

// Reads operator `node`; NULL with a reason when it is left to the runtime. `force` claims layers
// that are measured to be slower here, too.
hb_layer *hb_layer_read(const hb_graph *g, int node, bool force, const char **reason);
void hb_layer_free(hb_layer *layer);

// What one call computes, from the input's present dims. False with hb_error set.
typedef struct {
  hb_conv_geometry geometry;  // conv, or Dense run as one
  int batch;                  // Dense: rows
  bool as_conv;
  int dims[8], rank;  // of the output
  int64_t x_elements, y_elements;
} hb_call;
bool hb_layer_call(hb_layer *layer, const tfl_tensor *x, hb_call *call);
// The layer as a convolution of these codes; Dense as one of 1x1.
hb_conv *hb_layer_conv(const hb_layer *layer, const uint8_t *codes);
size_t hb_layer_workspace(const hb_layer *layer, const hb_call *call, int threads);
int hb_layer_run(const hb_layer *layer, const hb_call *call, const void *x, void *y,
                 void *workspace, hb_pool *pool);
#endif
