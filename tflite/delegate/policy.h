// When a layer is worth claiming.
#ifndef HB_POLICY_H
#define HB_POLICY_H

#include "layer.h"

// Whether our kernels beat the runtime's own on this CPU. A filter that is built by operators is
// not asked about: it never reaches the runtime's fast kernels.
bool hb_worth_it(const hb_layer *layer);
#endif
