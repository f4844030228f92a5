// Recognising filters whose values are +alpha or -alpha of their output channel, or with n bits odd
// multiples of alpha up to 2^n - 1.
#ifndef HB_FILTER_H
#define HB_FILTER_H

#include "graph.h"

// Planes of bits: 2 operators each, 2 more to put one behind the others; 9 around them.
enum { HB_DECODE_NODES = 24 };

typedef struct {
  int rank, dims[4];
  int outputs, per_output;  // output channels, weights of each
  bool channels_last;       // depthwise: [1, h, w, outputs], else [outputs, ...]
  bool is_float;
  int bits;
  uint8_t *codes;                             // [weights] as hb_conv_create takes them
  float *alpha;                               // float filter: [outputs]
  int32_t *magnitude;                         // int8 filter: [outputs]
  int decode[HB_DECODE_NODES], decode_count;  // nodes that rebuild the filter
} hb_filter;

// Reads the filter behind tensor `index`: a constant, a dequantised int8 constant, or the packed
// pattern. False with a reason if it is none.
bool hb_filter_read(hb_filter *f, const hb_graph *g, int index, const char **reason);
void hb_filter_release(hb_filter *f);

// The packed form alone, that of a depthwise convolution or the one of all others. `f` is released
// when it fails.
bool hb_filter_read_packed(hb_filter *f, const hb_graph *g, int index, bool depthwise,
                           const char **reason);
// For the readers of single forms: dims, and room for codes and one value per output channel.
bool hb_filter_shape(hb_filter *f, const tfl_tensor *t, bool is_float, const char **reason);
#endif
