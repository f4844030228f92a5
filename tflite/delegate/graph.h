// The graph that is being claimed.
#ifndef HB_GRAPH_H
#define HB_GRAPH_H

#include "tflite_abi.h"

// Who writes and who reads every tensor of the graph being claimed.
typedef struct {
  tfl_context *context;
  int *producer;  // [tensors] node index, -1 none, -2 several
  int *uses;      // [tensors] number of nodes that read it
} hb_graph;

bool hb_graph_init(hb_graph *g, tfl_context *context, const tfl_ints *plan);
void hb_graph_release(hb_graph *g);
// The tensor, or NULL when the index is not one of this graph.
const tfl_tensor *hb_tensor(const tfl_context *context, int index);
// Elements of a tensor, or -1 when its dims are negative, too many or do not match its bytes.
int64_t hb_elements(const tfl_tensor *t);
// A constant of the file with sound dims.
bool hb_is_constant(const tfl_tensor *t, int type);
// The node that writes the tensor, its index in *index, if it is the operator `code` of at least
// `inputs` inputs and one output; else NULL.
tfl_node *hb_producer(const hb_graph *g, int tensor, int code, int inputs, int *index);
#endif
