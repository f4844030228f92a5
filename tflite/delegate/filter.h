// Recognising filters whose every value is +alpha or -alpha of its output channel.
#ifndef HB_FILTER_H
#define HB_FILTER_H

#include "graph.h"

enum { HB_DECODE_NODES = 6 };

typedef struct {
  int rank, dims[4];
  int per_output;  // weights per output channel
  bool is_float;
  bool is_decoded;     // built by operators at run time, so ordinary runtimes are slow with it
  uint8_t *bits;       // [weights] 1 = positive
  float *alpha;        // float filter: [dims[0]]
  int32_t *magnitude;  // int8 filter: [dims[0]]
  int decode[HB_DECODE_NODES], decode_count;  // nodes that rebuild the filter
} hb_filter;

// Reads the filter behind tensor `index`: a constant, a dequantised int8 constant, or the packed
// pattern. False with a reason if it is not binary.
bool hb_filter_read(hb_filter *f, const hb_graph *g, int index, const char **reason);
void hb_filter_release(hb_filter *f);

// For the readers of single forms: dims, and room for bits and one value per output channel.
bool hb_filter_shape(hb_filter *f, const tfl_tensor *t, bool is_float, const char **reason);
bool hb_filter_read_packed(hb_filter *f, const hb_graph *g, int index, const char **reason);
#endif
