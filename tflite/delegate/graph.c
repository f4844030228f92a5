// Looking at the graph that is being claimed.
#include "graph.h"

#include <stdlib.h>

const tfl_tensor *hb_tensor(const tfl_context *c, int index) {
  return index >= 0 && (size_t)index < c->tensors_size ? &c->tensors[index] : NULL;
}

static size_t type_size(int type) {
  return type == TFL_FLOAT32 || type == TFL_INT32 ? 4 : type == TFL_INT8 ? 1 : 0;
}

int64_t hb_elements(const tfl_tensor *t) {
  if (!t || !t->dims || t->dims->size < 0 || t->dims->size > 8 || !type_size(t->type)) return -1;
  int64_t n = 1;
  for (int i = 0; i < t->dims->size; ++i) {
    if (t->dims->data[i] < 1 || t->dims->data[i] > INT32_MAX / n) return -1;
    n *= t->dims->data[i];
  }
  return n;
}

bool hb_is_constant(const tfl_tensor *t, int type) {
  if (!t || t->type != type || t->allocation_type != TFL_ALLOCATED_IN_FILE || !t->data)
    return false;
  const int64_t n = hb_elements(t);
  return n > 0 && t->bytes == (size_t)n * type_size(type) &&
         (uintptr_t)t->data % type_size(type) == 0;
}

bool hb_graph_init(hb_graph *g, tfl_context *c, const tfl_ints *plan) {
  g->context = c;
  g->producer = malloc((c->tensors_size + 1) * sizeof(int));
  g->uses = calloc(c->tensors_size + 1, sizeof(int));
  if (!g->producer || !g->uses) return hb_graph_release(g), false;
  for (size_t i = 0; i < c->tensors_size; ++i) g->producer[i] = -1;
  for (int i = 0; i < plan->size; ++i) {
    tfl_node *n;
    tfl_registration *r;
    if (c->get_node_and_registration(c, plan->data[i], &n, &r) != TFL_OK || !n) continue;
    for (int k = 0; n->inputs && k < n->inputs->size; ++k)
      if (hb_tensor(c, n->inputs->data[k])) ++g->uses[n->inputs->data[k]];
    for (int k = 0; n->outputs && k < n->outputs->size; ++k)
      if (hb_tensor(c, n->outputs->data[k])) {
        int *p = &g->producer[n->outputs->data[k]];
        *p = *p == -1 ? plan->data[i] : -2;
      }
  }
  return true;
}

void hb_graph_release(hb_graph *g) {
  free(g->producer);
  free(g->uses);
  g->producer = g->uses = NULL;
}

tfl_node *hb_producer(const hb_graph *g, int tensor, int code, int inputs, int *index) {
  tfl_node *n;
  tfl_registration *r;
  tfl_context *c = g->context;
  if (!hb_tensor(c, tensor) || g->producer[tensor] < 0) return NULL;
  *index = g->producer[tensor];
  if (c->get_node_and_registration(c, *index, &n, &r) != TFL_OK || !n || !r) return NULL;
  if (r->builtin_code != code || !n->inputs || n->inputs->size < inputs || !n->outputs ||
      n->outputs->size != 1)
    return NULL;
  return n;
}
