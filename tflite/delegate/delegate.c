// The TensorFlow Lite external delegate: claims layers, and hands their operators to layer.c.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../kernels/services.h"
#include "claim.h"
#include "hashbwn_delegate.h"
#include "layer.h"
#include "plugin.h"
#include "unpack.h"

// Shared by the claimed layers of one graph, which the runtime runs one after the other.
typedef struct {
  atomic_int users;
  hb_pool *pool;
  void *workspace;
  size_t workspace_bytes;
} graph_state;

typedef struct {
  hb_layer *layer;
  graph_state *state;
  int64_t x_elements, y_elements;  // of the call prepared last
  hb_call call;
  bool ready;
} kernel;

static _Thread_local int claimed_last, unpacked_last;

int hashbwn_claimed(void) { return claimed_last; }
int hashbwn_unpacked(void) { return unpacked_last; }

static void release_state(graph_state *s) {
  if (!s || atomic_fetch_sub(&s->users, 1) != 1) return;
  hb_pool_destroy(s->pool);
  free(s->workspace);
  free(s);
}

static void kernel_free(tfl_context *c, void *data) {
  (void)c;
  kernel *k = data;
  if (!k) return;
  hb_layer_free(k->layer);
  release_state(k->state);
  free(k);
}

static bool same_dims(const tfl_tensor *t, const hb_call *call) {
  return t->dims && t->dims->size == call->rank &&
         memcmp(t->dims->data, call->dims, (size_t)call->rank * sizeof(int)) == 0;
}

static int resize_output(tfl_context *c, tfl_tensor *y, const hb_call *call) {
  if (same_dims(y, call)) return TFL_OK;
  tfl_ints *dims = malloc(sizeof *dims + (size_t)call->rank * sizeof(int));  // the runtime frees it
  if (!dims) return hb_report(c, "no memory for a shape");
  dims->size = call->rank;
  memcpy(dims->data, call->dims, (size_t)call->rank * sizeof(int));
  return c->resize_tensor(c, y, dims);
}

static int grow_workspace(tfl_context *c, graph_state *s, size_t bytes) {
  if (bytes == 0) return hb_report(c, hb_error());
  if (bytes <= s->workspace_bytes) return TFL_OK;
  free(s->workspace);
  s->workspace = hb_alloc(bytes);
  s->workspace_bytes = s->workspace ? bytes : 0;
  return s->workspace ? TFL_OK : hb_report(c, hb_error());
}

static int kernel_prepare(tfl_context *c, tfl_node *node) {
  kernel *k = node->user_data;
  if (!k) return hb_report(c, "a claimed layer could not be set up");
  k->ready = false;
  const tfl_tensor *x = hb_tensor(c, k->layer->x);
  tfl_tensor *y = (tfl_tensor *)hb_tensor(c, k->layer->y);
  if (!x || !y) return hb_report(c, "a tensor of a claimed layer is gone");
  if (!hb_layer_call(k->layer, x, &k->call)) return hb_report(c, hb_error());
  const int threads = hb_pool_threads(k->state->pool);
  if (grow_workspace(c, k->state, hb_layer_workspace(k->layer, &k->call, threads)) != TFL_OK)
    return TFL_ERROR;
  if (resize_output(c, y, &k->call) != TFL_OK) return TFL_ERROR;
  k->ready = true;
  return TFL_OK;
}

static bool overlap(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
  return a < b + b_bytes && b < a + a_bytes;
}

static int kernel_invoke(tfl_context *c, tfl_node *node) {
  kernel *k = node->user_data;
  if (!k || !k->ready) return hb_report(c, "a claimed layer was run before it was prepared");
  const tfl_tensor *x = hb_tensor(c, k->layer->x), *y = hb_tensor(c, k->layer->y);
  const size_t size = k->layer->is_float ? 4 : 1;
  const size_t x_bytes = (size_t)k->call.x_elements * size;
  const size_t y_bytes = (size_t)k->call.y_elements * size;
  if (!x || !y || !x->data || !y->data || x->bytes < x_bytes || y->bytes < y_bytes)
    return hb_report(c, "a tensor of a claimed layer has no memory or too little");
  if (overlap(x->data, x_bytes, y->data, y_bytes))
    return hb_report(c, "the input and the output of a claimed layer overlap");
  if (hb_layer_run(k->layer, &k->call, x->data, y->data, k->state->workspace, k->state->pool) != 0)
    return hb_report(c, hb_error());
  return TFL_OK;
}

// The runtime splits a claim by readiness. Operators that rebuild the filter are ready before
// anything else: if the graph starts with one of them, while the layer has to wait for others, they
// would become a part of their own. They then stay with the runtime.
static bool decode_would_split(tfl_context *c, const hb_graph *g, const hb_layer *l) {
  tfl_ints *plan;
  if (c->get_execution_plan(c, &plan) != TFL_OK || plan->size < 1) return true;
  if (g->producer[l->x] == -1) return false;
  for (int i = 0; i < l->decode_count; ++i)
    if (plan->data[0] == l->decode[i]) return true;
  return false;
}

// Takes ownership of the layer.
static int hand_over(tfl_context *c, const hb_graph *g, tfl_delegate *d, hb_layer *l,
                     graph_state *state) {
  kernel *k = calloc(1, sizeof *k);
  if (!k) return hb_layer_free(l), hb_report(c, "no memory for a layer");
  k->layer = l;
  k->state = state;
  atomic_fetch_add(&state->users, 1);
  hb_claim claim = {.output = l->y,
                    .free = kernel_free,
                    .prepare = kernel_prepare,
                    .invoke = kernel_invoke,
                    .data = k};
  if (!decode_would_split(c, g, l))
    for (int i = l->decode_count - 1; i >= 0; --i) claim.nodes[claim.count++] = l->decode[i];
  claim.nodes[claim.count++] = l->node;
  return hb_claim_make(c, d, &claim);
}

static graph_state *make_state(const tfl_context *c, const hb_plugin *plugin) {
  graph_state *s = calloc(1, sizeof *s);
  if (!s) return NULL;
  atomic_init(&s->users, 1);
  int threads = plugin->threads ? plugin->threads : c->recommended_num_threads;
  if (threads < 1) threads = 1;
  if (threads > HB_MAX_THREADS) threads = HB_MAX_THREADS;
  if (threads > 1) s->pool = hb_pool_create(threads);  // NULL: one thread, still correct
  return s;
}

static void say_claim(const hb_layer *l, int node, const char *reason, bool unpacked) {
  if (l)
    hb_say("operator %d claimed: %s %dx%dx%d -> %d, %s", node, l->is_conv ? "convolution" : "dense",
           l->k_h, l->k_w, l->in_c, l->out_c, l->is_float ? "float32" : "int8");
  else if (reason)
    hb_say("operator %d left to the runtime: %s%s", node, reason,
           unpacked ? "; its packed filter was unpacked" : "");
}

static int claim_one(tfl_context *c, tfl_delegate *d, const hb_graph *g, int node,
                     graph_state *state) {
  const hb_plugin *plugin = d->data;
  const char *reason;
  bool unpacked = false;
  hb_layer *l = hb_layer_read(g, node, plugin->force, &reason);
  if (l) {
    if (plugin->verbose) say_claim(l, node, NULL, false);
    const int status = hand_over(c, g, d, l, state);
    claimed_last += status == TFL_OK;
    return status;
  }
  const int status = hb_unpack(d, g, node, &unpacked);
  unpacked_last += unpacked;
  if (plugin->verbose) say_claim(NULL, node, reason, unpacked);
  return status;
}

static int claim_all(tfl_context *c, tfl_delegate *d, const hb_graph *g, const int *nodes,
                     int count, graph_state *state) {
  int status = TFL_OK;
  for (int i = 0; i < count && status == TFL_OK; ++i) status = claim_one(c, d, g, nodes[i], state);
  return status;
}

int hb_delegate_prepare(tfl_context *c, tfl_delegate *d) {
  hb_plugin *plugin = d->data;
  tfl_ints *plan;
  if (atomic_load(&plugin->closed))
    return hb_report(c, "the delegate was closed before its interpreter");
  claimed_last = unpacked_last = 0;
  if (c->get_execution_plan(c, &plan) != TFL_OK || !plan) return TFL_ERROR;
  const int count = plan->size;
  int *nodes = malloc(((size_t)count + 1) * sizeof *nodes);
  hb_graph g;
  if (!nodes || !hb_graph_init(&g, c, plan))
    return free(nodes), hb_report(c, "no memory for a graph");
  memcpy(nodes, plan->data, (size_t)count * sizeof *nodes);  // the plan changes as layers go
  graph_state *state = make_state(c, plugin);
  const int status = state ? claim_all(c, d, &g, nodes, count, state) : TFL_ERROR;
  atomic_store(&plugin->taken, claimed_last);
  release_state(state);
  hb_graph_release(&g);
  free(nodes);
  return status;
}
