// When a layer is worth claiming.
#ifndef HB_POLICY_H
#define HB_POLICY_H

#include "layer.h"

// Whether our kernels beat the runtime's own on this CPU. A packed filter makes no difference:
// where its layer is left to the runtime, unpack.c makes it the constant that the runtime is fast
// with.
bool hb_worth_it(const hb_layer *layer);
#endif
