#include "claim.h"

#include <string.h>

// The claim being made: the runtime calls init from inside ReplaceNodeSubsets.
static _Thread_local hb_claim *current;
static _Thread_local bool refused;

int hb_report(tfl_context *c, const char *why) {
  c->report_error(c, "hashbwn: %s", why);
  return TFL_ERROR;
}

static bool contains(const tfl_ints *list, int value) {
  for (int i = 0; list && i < list->size; ++i)
    if (list->data[i] == value) return true;
  return false;
}

static void *init(tfl_context *c, const char *buffer, size_t length) {
  (void)c;
  (void)length;
  const tfl_delegate_params *p = (const void *)buffer;
  // What lies between the operators is never made. That an interpreter preserves all tensors shows
  // here only, by a part for every operator.
  refused |= !p || !current || !current->data ||
             !contains(p->nodes_to_replace, current->nodes[current->count - 1]) ||
             !p->output_tensors || p->output_tensors->size != 1 ||
             p->output_tensors->data[0] != current->output;
  if (refused) return NULL;
  void *data = current->data;
  current->data = NULL;
  return data;
}

int hb_claim_make(tfl_context *c, tfl_delegate *d, hb_claim *claim) {
  struct {
    int size, nodes[HB_DECODE_NODES + 1];
  } list = {.size = claim->count};
  memcpy(list.nodes, claim->nodes, sizeof list.nodes);
  tfl_registration r;
  memset(&r, 0, sizeof r);
  r.init = init;
  r.free = claim->free;
  r.prepare = claim->prepare;
  r.invoke = claim->invoke;
  r.builtin_code = TFL_OP_DELEGATE;
  r.custom_name = "HashBwnDelegate";
  r.version = 1;
  current = claim;
  refused = false;
  const int status = c->replace_node_subsets(c, r, (const tfl_ints *)&list, d);
  current = NULL;
  if (claim->data) claim->free(c, claim->data);  // no node took it
  if (refused)
    return hb_report(c,
                     "the unpacked weights of a layer are asked for, but never made: leave out "
                     "the delegate or experimental_preserve_all_tensors");
  return status;
}
