#include "policy.h"

#include <stddef.h>
#include <string.h>

typedef enum { CONVOLUTION, DENSE } layer_kind;
typedef enum { FLOAT32, INT8 } layer_type;
// Who else would run the layer: a CPU's plain vectors, its 8-bit dot products, or either.
typedef enum { EITHER, PLAIN, DOT } rival;

// Layers of one kind and type on one set of kernels that are worth claiming. Bounds are inclusive;
// 0 stands for none.
typedef struct {
  const char *isa;  // NULL: sets without rows of their own
  layer_kind kind;
  layer_type type;
  rival against;
  int outputs, inputs;  // at least
  int kernel_h, row;    // at least; row: kernel columns times input channels
  int64_t weights;      // at least
  int stride;           // rows, at most
  const char *measured;
} rule;

#define ZEN3 "AMD EPYC Zen 3, 2026-11-26"
#define ZEN4 "AMD EPYC Zen 4, 2026-11-23"
#define COUNTED "no time: instructions on an emulated Cortex-A72 and A76, 2026-11-23"
#define NEVER "never measured"

// The ratios behind the dates are in benchmarks/kernels/kernels.md. Several rows of the same layers
// are alternatives; layers without a row stay with the runtime.
static const rule rules[] = {
    {"avx2", CONVOLUTION, FLOAT32, EITHER, .outputs = 16, .measured = ZEN3},
    {"avx2", CONVOLUTION, INT8, PLAIN, .outputs = 16, .measured = ZEN3},
    {"avx2", CONVOLUTION, INT8, DOT, .outputs = 128, .kernel_h = 3, .row = 384, .stride = 1,
     .measured = ZEN4},
    {"avx2", DENSE, FLOAT32, EITHER, .outputs = 64, .inputs = 64, .measured = ZEN3},
    {"avx2", DENSE, INT8, PLAIN, .outputs = 64, .inputs = 64, .measured = ZEN3},
    {"avx2", DENSE, INT8, DOT, .weights = 1 << 20, .measured = ZEN4},
    {"neon", CONVOLUTION, FLOAT32, EITHER, .outputs = 16, .measured = COUNTED},
    {"neon", CONVOLUTION, INT8, PLAIN, .outputs = 16, .measured = COUNTED},
    {"neon", DENSE, FLOAT32, EITHER, .outputs = 64, .inputs = 64, .measured = COUNTED},
    {"neon", DENSE, INT8, PLAIN, .outputs = 64, .inputs = 64, .measured = COUNTED},
    {"neon", DENSE, INT8, DOT, .weights = 1 << 20, .measured = COUNTED},
    {NULL, CONVOLUTION, FLOAT32, EITHER, .outputs = 16, .measured = NEVER},
    {NULL, CONVOLUTION, INT8, PLAIN, .outputs = 16, .measured = NEVER},
    {NULL, DENSE, FLOAT32, EITHER, .outputs = 64, .inputs = 64, .measured = NEVER},
    {NULL, DENSE, INT8, PLAIN, .outputs = 64, .inputs = 64, .measured = NEVER},
    {NULL, DENSE, INT8, DOT, .weights = 1 << 20, .measured = NEVER},
};
enum { RULES = sizeof rules / sizeof *rules };

static bool is_of(const rule *r, const char *isa) {
  return r->isa && isa ? strcmp(r->isa, isa) == 0 : r->isa == isa;
}

static bool has_rows(const char *isa) {
  for (int i = 0; i < RULES; ++i)
    if (is_of(&rules[i], isa)) return true;
  return false;
}

static bool covers(const rule *r, const hb_layer *l, bool has_dot) {
  return r->kind == (l->is_conv ? CONVOLUTION : DENSE) &&
         r->type == (l->is_float ? FLOAT32 : INT8) &&
         (r->against == EITHER || r->against == (has_dot ? DOT : PLAIN)) &&
         l->out_c >= r->outputs && l->in_c >= r->inputs && l->k_h >= r->kernel_h &&
         l->k_w * l->in_c >= r->row &&
         (int64_t)l->out_c * l->k_h * l->k_w * l->in_c >= r->weights &&
         (r->stride == 0 || l->stride_h <= r->stride);
}

static const rule *speaks_for(const hb_layer *l, const char *isa, bool has_dot) {
  const char *rows = has_rows(isa) ? isa : NULL;
  for (int i = 0; i < RULES; ++i)
    if (is_of(&rules[i], rows) && covers(&rules[i], l, has_dot)) return &rules[i];
  return NULL;
}

bool hb_worth_it(const hb_layer *l) { return speaks_for(l, hb_isa(), hb_cpu_has_dot()) != NULL; }

// The number `index` among the sets of kernels that have rows of their own, NULL after the last.
HB_API const char *hashbwn_policy_isa(int index);
const char *hashbwn_policy_isa(int index) {
  for (int i = 0; i < RULES; ++i) {
    bool seen = !rules[i].isa;
    for (int j = 0; j < i; ++j) seen |= is_of(&rules[j], rules[i].isa);
    if (!seen && index-- == 0) return rules[i].isa;
  }
  return NULL;
}

// For a layer of shape {outputs, kernel rows, kernel columns, inputs, stride of rows}: the
// measurement by which it is claimed on a set of kernels, whatever CPU this is; NULL where it is
// left to the runtime.
HB_API const char *hashbwn_worth(const char *isa, int has_dot, int is_conv, int is_float,
                                 const int *shape);
const char *hashbwn_worth(const char *isa, int has_dot, int is_conv, int is_float,
                          const int *shape) {
  const hb_layer l = {.is_conv = is_conv != 0,
                      .is_float = is_float != 0,
                      .out_c = shape[0],
                      .k_h = shape[1],
                      .k_w = shape[2],
                      .in_c = shape[3],
                      .stride_h = shape[4]};
  const rule *r = speaks_for(&l, isa, has_dot != 0);
  return r ? r->measured : NULL;
}
