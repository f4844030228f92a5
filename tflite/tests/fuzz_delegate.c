// Fuzz target for claim -> prepare -> invoke. Input: a graph in the byte form make_seeds.py writes
// (tensors, operators, constants), which a stand-in for the TFLite runtime offers to the delegate.
// Every constant and every activation has an allocation of exactly its size, so that a sanitizer
// sees any read beyond it. With -DHB_STANDALONE it runs the files named on the command line.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../delegate/tflite_abi.h"
#include "hashbwn_delegate.h"

enum { MAX_TENSORS = 64, MAX_NODES = 64, MAX_WORK = 1 << 22, MAX_TENSOR = 1 << 18 };

typedef struct {
  const uint8_t *at, *end;
} reader;

static int64_t take(reader *r, int bytes) {  // little-endian, sign-extended; 0 past the end
  uint64_t v = 0;
  for (int i = 0; i < bytes; ++i)
    if (r->at < r->end) v |= (uint64_t)*r->at++ << (8 * i);
  return bytes == 1 ? (int8_t)v : bytes == 2 ? (int16_t)v : (int32_t)v;
}

static float take_float(reader *r) {
  const int32_t bits = (int32_t)take(r, 4);
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

typedef struct {
  tfl_node node;
  tfl_registration registration;
  int in_plan;
} runtime_node;

typedef struct {
  tfl_context context;
  tfl_tensor tensors[MAX_TENSORS];
  runtime_node nodes[2 * MAX_NODES];
  int node_count;
  tfl_ints *plan;
  int graph_output;
  int split;  // 1: every node of a claim becomes a part of its own
} runtime;

static runtime *of(tfl_context *c) { return (runtime *)c->impl; }

static tfl_ints *make_ints(int count) {
  tfl_ints *a = calloc(1, sizeof *a + (size_t)count * sizeof(int));
  a->size = count;
  return a;
}

static int get_plan(tfl_context *c, tfl_ints **plan) {
  runtime *r = of(c);
  free(r->plan);
  r->plan = make_ints(r->node_count);
  r->plan->size = 0;
  for (int i = 0; i < r->node_count; ++i)
    if (r->nodes[i].in_plan) r->plan->data[r->plan->size++] = i;
  *plan = r->plan;
  return TFL_OK;
}

static int get_node(tfl_context *c, int index, tfl_node **node, tfl_registration **registration) {
  runtime *r = of(c);
  if (index < 0 || index >= r->node_count) return TFL_ERROR;
  *node = &r->nodes[index].node;
  *registration = &r->nodes[index].registration;
  return TFL_OK;
}

static size_t type_bytes(int type) { return type == TFL_INT8 ? 1 : 4; }

static int64_t elements(const tfl_ints *dims) {
  int64_t n = 1;
  for (int i = 0; i < dims->size; ++i) {
    if (dims->data[i] < 0 || (n > 0 && dims->data[i] > MAX_TENSOR / n)) return -1;
    n *= dims->data[i];
  }
  return n;
}

static int resize(tfl_context *c, tfl_tensor *t, tfl_ints *dims) {
  (void)c;
  const int64_t n = elements(dims);
  if (n < 0 || t->allocation_type == TFL_ALLOCATED_IN_FILE) return free(dims), TFL_ERROR;
  free(t->dims);
  t->dims = dims;
  t->bytes = (size_t)n * type_bytes(t->type);
  return TFL_OK;
}

static void silent(tfl_context *c, const char *format, ...) {
  char line[512];
  va_list args;
  (void)c;
  va_start(args, format);
  vsnprintf(line, sizeof line, format, args);
  va_end(args);
}

static int used_outside(const runtime *r, int tensor, const tfl_ints *nodes) {
  if (tensor == r->graph_output) return 1;
  for (int i = 0; i < r->node_count; ++i) {
    int inside = 0;
    for (int k = 0; k < nodes->size; ++k) inside |= nodes->data[k] == i;
    if (inside || !r->nodes[i].in_plan) continue;
    const tfl_ints *in = r->nodes[i].node.inputs;
    for (int k = 0; k < in->size; ++k)
      if (in->data[k] == tensor) return 1;
  }
  return 0;
}

static void add_delegate_node(runtime *r, tfl_registration reg, const tfl_ints *nodes,
                              tfl_delegate *d) {
  tfl_ints *outputs = make_ints(MAX_NODES * 4);
  outputs->size = 0;
  for (int k = 0; k < nodes->size; ++k) {
    runtime_node *n = &r->nodes[nodes->data[k]];
    n->in_plan = 0;
    for (int o = 0; o < n->node.outputs->size; ++o)
      if (outputs->size < MAX_NODES * 4 && used_outside(r, n->node.outputs->data[o], nodes))
        outputs->data[outputs->size++] = n->node.outputs->data[o];
  }
  tfl_ints *inputs = make_ints(0);
  tfl_ints *copy = make_ints(nodes->size);
  memcpy(copy->data, nodes->data, (size_t)nodes->size * sizeof(int));
  tfl_delegate_params p = {d, copy, inputs, outputs};
  runtime_node *n = &r->nodes[r->node_count++];
  n->registration = reg;
  n->node.inputs = inputs;
  n->node.outputs = outputs;
  n->node.delegate = d;
  n->in_plan = 1;
  n->node.user_data = reg.init(&r->context, (const char *)&p, 0);
  free(copy);
}

static int replace(tfl_context *c, tfl_registration reg, const tfl_ints *nodes, tfl_delegate *d) {
  runtime *r = of(c);
  for (int i = 0; i < nodes->size; ++i)
    if (nodes->data[i] < 0 || nodes->data[i] >= r->node_count) abort();  // the delegate's fault
  if (r->node_count + nodes->size > 2 * MAX_NODES) return TFL_ERROR;
  if (!r->split) {
    add_delegate_node(r, reg, nodes, d);
    return TFL_OK;
  }
  for (int i = 0; i < nodes->size; ++i) {
    tfl_ints *one = make_ints(1);
    one->data[0] = nodes->data[i];
    add_delegate_node(r, reg, one, d);
    free(one);
  }
  return TFL_OK;
}

static void read_quantization(reader *in, tfl_tensor *t) {
  const int scales = (int)(take(in, 2) & 0x3ff), zeros = (int)(take(in, 2) & 0x3ff);
  tfl_affine *a = calloc(1, sizeof *a);
  a->scale = calloc(1, sizeof *a->scale + (size_t)scales * 4);
  a->scale->size = scales;
  for (int i = 0; i < scales; ++i) a->scale->data[i] = take_float(in);
  a->zero_point = make_ints(zeros);
  for (int i = 0; i < zeros; ++i) a->zero_point->data[i] = (int)take(in, 4);
  a->quantized_dimension = (int32_t)take(in, 4);
  t->quantization.type = TFL_QUANTIZATION_AFFINE;
  t->quantization.params = a;
}

static void read_tensor(reader *in, tfl_tensor *t) {
  t->type = (int)take(in, 1);
  t->allocation_type = (int)take(in, 1);
  t->dims = make_ints((int)(take(in, 1) & 15));
  for (int i = 0; i < t->dims->size; ++i) t->dims->data[i] = (int)take(in, 4);
  t->params.scale = take_float(in);
  t->params.zero_point = (int32_t)take(in, 4);
  if (take(in, 1)) read_quantization(in, t);
  if (t->allocation_type != TFL_ALLOCATED_IN_FILE) return;
  const uint32_t size = (uint32_t)take(in, 4);
  t->bytes = size < (size_t)(in->end - in->at) ? size : (size_t)(in->end - in->at);
  t->data = malloc(t->bytes ? t->bytes : 1);
  memcpy(t->data, in->at, t->bytes);
  in->at += t->bytes;
}

static tfl_ints *read_list(reader *in) {
  tfl_ints *a = make_ints((int)(take(in, 1) & 15));
  for (int i = 0; i < a->size; ++i) a->data[i] = (int)take(in, 2);
  return a;
}

static void read_node(reader *in, runtime_node *n) {
  n->registration.builtin_code = (int32_t)(take(in, 1) & 0xff);
  n->node.inputs = read_list(in);
  n->node.outputs = read_list(in);
  const int options = (int)(take(in, 1) & 15);
  int32_t *data = calloc(16, sizeof *data);  // longer than any options structure
  for (int i = 0; i < options; ++i) data[i] = (int32_t)take(in, 4);
  n->node.builtin_data = options ? data : NULL;
  if (!options) free(data);
  n->in_plan = 1;
}

// Activations get memory of exactly their size, as an arena would place them at worst.
static void allocate(runtime *r) {
  for (size_t i = 0; i < r->context.tensors_size; ++i) {
    tfl_tensor *t = &r->tensors[i];
    if (t->allocation_type == TFL_ALLOCATED_IN_FILE) continue;
    const int64_t n = elements(t->dims);
    free(t->data);
    t->bytes = n < 0 ? 0 : (size_t)n * type_bytes(t->type);
    t->data = n < 0 ? NULL : malloc(t->bytes ? t->bytes : 1);
    for (size_t k = 0; k < t->bytes; ++k) ((uint8_t *)t->data)[k] = (uint8_t)(k * 37 + i);
  }
}

static void prepare_and_invoke(runtime *r) {
  int ready[2 * MAX_NODES] = {0};
  for (int i = 0; i < r->node_count; ++i)
    if (r->nodes[i].in_plan && r->nodes[i].registration.prepare)
      ready[i] = r->nodes[i].registration.prepare(&r->context, &r->nodes[i].node) == TFL_OK;
  allocate(r);
  for (int i = 0; i < r->node_count; ++i)
    if (ready[i]) r->nodes[i].registration.invoke(&r->context, &r->nodes[i].node);
}

// Too large to run in fuzzing time: activations times weights.
static int too_large(const runtime *r) {
  int64_t constants = 1, activations = 1;
  for (size_t i = 0; i < r->context.tensors_size; ++i) {
    const tfl_tensor *t = &r->tensors[i];
    const int64_t n = elements(t->dims);
    if (t->allocation_type == TFL_ALLOCATED_IN_FILE)
      constants += (int64_t)t->bytes;
    else if (n > activations)
      activations = n;
  }
  return activations > MAX_WORK / constants * 16;
}

static void release(runtime *r) {
  for (int i = 0; i < r->node_count; ++i) {
    runtime_node *n = &r->nodes[i];
    if (n->registration.free) n->registration.free(&r->context, n->node.user_data);
    free(n->node.inputs);
    free(n->node.outputs);
    free(n->node.builtin_data);
  }
  for (size_t i = 0; i < r->context.tensors_size; ++i) {
    tfl_affine *a = r->tensors[i].quantization.params;
    if (a) free(a->scale), free(a->zero_point);
    free(a);
    free(r->tensors[i].dims);
    free(r->tensors[i].data);
  }
  free(r->plan);
  free(r);
}

// Gives the delegate back under an interpreter that goes on; it is not applied again.
static void close_early(runtime *r, tfl_delegate *d) {
  const int taken = hashbwn_delegate_taken(d);
  if (taken != hashbwn_claimed()) abort();
  tflite_plugin_destroy_delegate(d);
  if (taken > 0 && d->prepare(&r->context, d) == TFL_OK) abort();
}

static void run_graph(runtime *r, reader *in, const char *threads, const char *force, int early) {
  r->context = (tfl_context){.tensors_size = (size_t)(take(in, 1) & 63),
                             .impl = r,
                             .get_execution_plan = get_plan,
                             .tensors = r->tensors,
                             .resize_tensor = resize,
                             .report_error = silent,
                             .get_node_and_registration = get_node,
                             .replace_node_subsets = replace,
                             .recommended_num_threads = -1};
  const int nodes = (int)(take(in, 1) & 63);
  r->graph_output = (int)take(in, 2);
  for (size_t i = 0; i < r->context.tensors_size; ++i) read_tensor(in, &r->tensors[i]);
  for (; r->node_count < nodes; ++r->node_count) read_node(in, &r->nodes[r->node_count]);
  if (too_large(r)) return release(r);
  const char *keys[] = {"num_threads", "force"}, *values[] = {threads, force};
  tfl_delegate *d = tflite_plugin_create_delegate(keys, values, 2, NULL);
  if (!d) abort();
  if (d->prepare(&r->context, d) == TFL_OK) {
    prepare_and_invoke(r);
    if (early) close_early(r, d);
    for (size_t i = 0; i < r->context.tensors_size; ++i) {  // the user resizes the inputs
      tfl_tensor *t = &r->tensors[i];
      if (t->allocation_type != TFL_ALLOCATED_IN_FILE && t->dims->size > 1 &&
          t->dims->data[0] < 16 && elements(t->dims) >= 0 && elements(t->dims) < 4096)
        t->dims->data[0] += 1 + (int)(i & 7);
    }
    if (!too_large(r)) prepare_and_invoke(r);
    if (early) d = NULL;
  }
  release(r);
  tflite_plugin_destroy_delegate(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  reader in = {data, data + size};
  runtime *r = calloc(1, sizeof *r);
  const int flags = (int)take(&in, 1);
  r->split = flags & 1;
  run_graph(r, &in, flags & 2 ? "2" : "1", flags & 4 ? "1" : "0", flags & 8);
  return 0;
}

#ifdef HB_STANDALONE
// Runs each file and prints how many layers were claimed.
int main(int argc, char **argv) {
  for (int i = 1; i < argc; ++i) {
    FILE *f = fopen(argv[i], "rb");
    if (!f) return fprintf(stderr, "%s cannot be read\n", argv[i]), 1;
    uint8_t *data = malloc(1 << 22);
    const size_t size = fread(data, 1, 1 << 22, f);
    fclose(f);
    LLVMFuzzerTestOneInput(data, size);
    printf("%s: %d claimed\n", argv[i], hashbwn_claimed());
    free(data);
  }
  return 0;
}
#endif
