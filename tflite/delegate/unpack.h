// Packed filters of layers that the runtime runs faster: unpacked once, they are constants to it.
#ifndef HB_UNPACK_H
#define HB_UNPACK_H

#include "graph.h"

// Makes the packed filter of operator `node` a constant, in place of the operators that would build
// it. Whether it had one, in *found.
int hb_unpack(tfl_delegate *d, const hb_graph *g, int node, bool *found);
#endif
