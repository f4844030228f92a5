// Operators that become one node of ours.
#ifndef HB_CLAIM_H
#define HB_CLAIM_H

#include "filter.h"

typedef struct {
  int nodes[HB_DECODE_NODES + 1], count;  // in an order in which they could run
  int output;                             // the only tensor of theirs that others may read
  // What the runtime calls with `data`, which free() releases.
  void (*free)(tfl_context *, void *data);
  int (*prepare)(tfl_context *, tfl_node *);
  int (*invoke)(tfl_context *, tfl_node *);
  void *data;
} hb_claim;

// Takes over claim->data, also when it fails.
int hb_claim_make(tfl_context *c, tfl_delegate *d, hb_claim *claim);
// Tells the runtime why; TFL_ERROR.
int hb_report(tfl_context *c, const char *why);
#endif
