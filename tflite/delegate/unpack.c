#include "unpack.h"

#include <stdlib.h>

#include "../kernels/services.h"
#include "claim.h"

// The tensor is the runtime's; it is given back as it was when the node goes.
typedef struct {
  int tensor, allocation_type;
  size_t bytes;
  void *values, *old;
} unpacked;

static void unpacked_free(tfl_context *c, void *data) {
  unpacked *u = data;
  if (!u) return;
  tfl_tensor *t = (tfl_tensor *)hb_tensor(c, u->tensor);
  if (t && t->data == u->values) {
    t->data = u->old;
    t->allocation_type = u->allocation_type;
  }
  free(u->values);
  free(u);
}

static int unpacked_ready(tfl_context *c, tfl_node *node) {
  return node->user_data ? TFL_OK : hb_report(c, "a packed filter could not be unpacked");
}

static void write_values(const hb_filter *f, void *values) {
  const int64_t count = (int64_t)f->outputs * f->per_output;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t o = f->channels_last ? i % f->outputs : i / f->per_output;
    const int level = 2 * f->codes[i] - hb_top_level(f->bits);
    if (f->is_float)
      ((float *)values)[i] = (float)level * f->alpha[o];
    else
      ((int8_t *)values)[i] = (int8_t)(level * f->magnitude[o]);
  }
}

static unpacked *make(const hb_filter *f, const hb_graph *g, int tensor) {
  const tfl_tensor *t = hb_tensor(g->context, tensor);
  unpacked *u = calloc(1, sizeof *u);
  if (!u) return NULL;
  u->tensor = tensor;
  u->allocation_type = t->allocation_type;
  u->old = t->data;
  u->bytes = (size_t)f->outputs * (size_t)f->per_output * (f->is_float ? sizeof(float) : 1);
  u->values = hb_alloc(u->bytes);
  if (!u->values) return free(u), NULL;
  write_values(f, u->values);
  return u;
}

// From here on a constant of the file to whoever looks: the runtime's own delegates take such only.
static void show(const hb_graph *g, const unpacked *u) {
  tfl_tensor *t = (tfl_tensor *)hb_tensor(g->context, u->tensor);
  t->data = u->values;
  t->bytes = u->bytes;
  t->allocation_type = TFL_ALLOCATED_IN_FILE;
}

int hb_unpack(tfl_delegate *d, const hb_graph *g, int node, bool *found) {
  tfl_node *n;
  tfl_registration *r;
  tfl_context *c = g->context;
  hb_filter f;
  const char *reason;
  *found = false;
  if (c->get_node_and_registration(c, node, &n, &r) != TFL_OK || !n || !r || !n->inputs ||
      n->inputs->size < 2)
    return TFL_OK;
  const int tensor = n->inputs->data[1];
  const bool depthwise = r->builtin_code == TFL_OP_DEPTHWISE_CONV_2D;
  if (!depthwise && r->builtin_code != TFL_OP_CONV_2D && r->builtin_code != TFL_OP_FULLY_CONNECTED)
    return TFL_OK;
  if (!hb_filter_read_packed(&f, g, tensor, depthwise, &reason)) return TFL_OK;
  unpacked *u = make(&f, g, tensor);
  if (!u) return hb_filter_release(&f), hb_report(c, hb_error());
  hb_claim claim = {.output = tensor,
                    .free = unpacked_free,
                    .prepare = unpacked_ready,
                    .invoke = unpacked_ready,
                    .data = u};
  for (int i = f.decode_count - 1; i >= 0; --i) claim.nodes[claim.count++] = f.decode[i];
  hb_filter_release(&f);
  const int status = hb_claim_make(c, d, &claim);
  if (status == TFL_OK) show(g, u);
  *found = status == TFL_OK;
  return status;
}
