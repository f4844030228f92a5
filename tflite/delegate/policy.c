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
  const char *isa;
  layer_kind kind;
  layer_type type;
  rival against;
  const char *measured;
  int outputs, inputs;  // at least
  int kernel_h, row;    // at least; row: kernel columns times input channels
  int64_t weights;      // at least
  int bits;             // of a weight, at most; 0: 1
} rule;

#define ZEN3 "AMD EPYC Zen 3, 2 cores, 2026-11-26"
#define ZEN4 "AMD EPYC Zen 4, 2 cores, 2026-11-27"
#define LIKE_ZEN4 "not measured: the bounds of Zen 4"
#define COUNTED "no time: instructions on emulated Cortex-A72 and A76, 2026-11-23; bounds of Zen 4"

// clang-format off
// Float32 layers do not care for dot products. Measured against XNNPACK with AVX-512.
#define FLOAT_RULES(isa, where)                                                                   \
  {isa, CONVOLUTION, FLOAT32, EITHER, where, .outputs = 12, .kernel_h = 3, .row = 24},            \
  {isa, CONVOLUTION, FLOAT32, EITHER, where, .outputs = 64, .inputs = 24},                        \
  {isa, CONVOLUTION, FLOAT32, EITHER, where, .outputs = 32, .kernel_h = 3, .row = 48, .bits = 2}, \
  {isa, CONVOLUTION, FLOAT32, EITHER, where, .outputs = 128, .inputs = 64, .bits = 2},            \
  {isa, DENSE, FLOAT32, EITHER, where, .outputs = 64, .weights = 1 << 16},                        \
  {isa, DENSE, FLOAT32, EITHER, where, .outputs = 64, .weights = 1 << 18, .bits = 2}
// int8 layers of x86-64 CPUs that have dot products, too.
#define DOT_RULES(isa, where, least_row)                                                          \
  {isa, CONVOLUTION, INT8, DOT, where, .outputs = 64, .kernel_h = 3, .row = least_row},           \
  {isa, CONVOLUTION, INT8, DOT, where, .outputs = 192, .inputs = 256},                            \
  {isa, DENSE, INT8, DOT, where, .outputs = 64, .weights = 3 << 17},                              \
  {isa, DENSE, INT8, DOT, where, .outputs = 64, .weights = 1 << 20, .bits = 2}
// clang-format on

// Several rules for the same layers are alternatives. Layers without one stay with the runtime, and
// so does all that no rule is about: sets of kernels that nobody has measured.
static const rule rules[] = {
    FLOAT_RULES("zen4", ZEN4),
    DOT_RULES("zen4", ZEN4, 144),
    FLOAT_RULES("avx512vnni", LIKE_ZEN4),
    DOT_RULES("avx512vnni", LIKE_ZEN4, 144),
    FLOAT_RULES("avx512", LIKE_ZEN4),
    DOT_RULES("avx512", LIKE_ZEN4, 192),
    FLOAT_RULES("avx2", ZEN4),
    DOT_RULES("avx2", ZEN4, 192),
    {"avx2", CONVOLUTION, INT8, PLAIN, ZEN3, .outputs = 16},
    {"avx2", DENSE, INT8, PLAIN, ZEN3, .outputs = 64, .weights = 1 << 16},
    {"avx512", CONVOLUTION, INT8, PLAIN, "not measured: the bounds of avx2", .outputs = 16},
    FLOAT_RULES("neon", COUNTED),
    {"neon", CONVOLUTION, INT8, PLAIN, COUNTED, .outputs = 16},
    {"neon", DENSE, INT8, PLAIN, COUNTED, .outputs = 64, .weights = 1 << 16},
    {"neon", DENSE, INT8, DOT, COUNTED, .outputs = 64, .weights = 1 << 20},
};
enum { RULES = sizeof rules / sizeof *rules };

static bool covers(const rule *r, const hb_layer *l, const char *isa, bool has_dot) {
  return strcmp(r->isa, isa) == 0 && r->kind == (l->is_conv ? CONVOLUTION : DENSE) &&
         r->type == (l->is_float ? FLOAT32 : INT8) &&
         (r->against == EITHER || r->against == (has_dot ? DOT : PLAIN)) &&
         l->out_c >= r->outputs && l->in_c >= r->inputs && l->k_h >= r->kernel_h &&
         l->k_w * l->in_c >= r->row &&
         (int64_t)l->out_c * l->k_h * l->k_w * l->in_c >= r->weights &&
         l->bits <= (r->bits ? r->bits : 1);
}

static const rule *speaks_for(const hb_layer *l, const char *isa, bool has_dot) {
  for (int i = 0; i < RULES; ++i)
    if (covers(&rules[i], l, isa, has_dot)) return &rules[i];
  return NULL;
}

bool hb_worth_it(const hb_layer *l) { return speaks_for(l, hb_isa(), hb_cpu_has_dot()) != NULL; }

// The number `index` among the sets of kernels that have rules, NULL after the last.
HB_API const char *hashbwn_policy_isa(int index);
const char *hashbwn_policy_isa(int index) {
  for (int i = 0; i < RULES; ++i) {
    bool seen = false;
    for (int j = 0; j < i; ++j) seen |= strcmp(rules[j].isa, rules[i].isa) == 0;
    if (!seen && index-- == 0) return rules[i].isa;
  }
  return NULL;
}

// For a layer of shape {outputs, kernel rows, kernel columns, inputs, bits of a weight}: the
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
                      .bits = shape[4]};
  const rule *r = speaks_for(&l, isa, has_dot != 0);
  return r ? r->measured : NULL;
}
