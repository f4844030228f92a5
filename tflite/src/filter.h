// Recognising filters whose every value is +alpha or -alpha of its output channel.
#ifndef HB_FILTER_H
#define HB_FILTER_H

#include "tflite_abi.h"

enum { HB_DECODE_NODES = 6 };

// Who writes and who reads every tensor of the graph being claimed.
typedef struct {
  tfl_context *context;
  int *producer;  // [tensors] node index, -1 none, -2 several
  int *uses;      // [tensors] number of nodes that read it
} hb_graph;

typedef struct {
  int rank, dims[4];
  int per_output;      // weights per output channel
  bool is_float;
  bool is_decoded;     // built by operators at run time, so ordinary runtimes are slow with it
  uint8_t *bits;       // [weights] 1 = positive
  float *alpha;        // float filter: [dims[0]]
  int32_t *magnitude;  // int8 filter: [dims[0]]
  int decode[HB_DECODE_NODES], decode_count;  // nodes that rebuild the filter
} hb_filter;

bool hb_graph_init(hb_graph *g, tfl_context *context, const tfl_ints *plan);
void hb_graph_release(hb_graph *g);
// The tensor, or NULL when the index is not one of this graph.
const tfl_tensor *hb_tensor(const tfl_context *context, int index);
// Elements of a tensor, or -1 when its dims are negative, too many or do not match its bytes.
int64_t hb_elements(const tfl_tensor *t);
// A constant of the file with sound dims.
bool hb_is_constant(const tfl_tensor *t, int type);

// Reads the filter behind tensor `index`: a constant, a dequantised int8 constant, or the packed
// pattern. False with a reason if it is not binary.
bool hb_filter_read(hb_filter *f, const hb_graph *g, int index, const char **reason);
void hb_filter_release(hb_filter *f);
#endif
