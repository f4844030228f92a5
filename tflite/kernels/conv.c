// Convolution: objects, and running them: plan, then tiles shared out over threads.
#include <stdlib.h>

#include "internal.h"

static bool filter_ok(const hb_conv_filter *f) {
  const int out_c = f->out_c, k_h = f->k_h, k_w = f->k_w, in_c = f->in_c, bits = f->bits;
  if (out_c < 1 || k_h < 1 || k_w < 1 || in_c < 1 || out_c > 1 << 20 || k_h > 1 << 12 ||
      k_w > 1 << 12 || in_c > 1 << 24) {
    hb_fail("a filter of %dx%dx%dx%d is outside what the kernels take", out_c, k_h, k_w, in_c);
    return false;
  }
  if (bits < 1 || bits > HB_MAX_BITS) {
    hb_fail("weights of %d bits; allowed are 1 to %d", bits, HB_MAX_BITS);
    return false;
  }
  if ((f->type != HB_F32 && f->type != HB_S8) || f->dilation_h < 1 || f->dilation_w < 1) {
    hb_fail("a convolution is of float32 or int8, its dilation at least 1");
    return false;
  }
  // 2^23 activations of 255 are the most an int32 sum holds.
  const int64_t per_output = (int64_t)k_h * k_w * in_c * hb_top_level(bits);
  if (per_output > 1 << 23 || per_output > INT32_MAX / 4 / out_c) {
    hb_fail("a filter of %dx%dx%dx%d has too many weights", out_c, k_h, k_w, in_c);
    return false;
  }
  return true;
}

hb_conv *hb_conv_create(const hb_conv_filter *f, const uint8_t *codes) {
  if (!filter_ok(f)) return NULL;
  hb_conv *c = calloc(1, sizeof *c);
  if (!c) return hb_fail("no memory for a convolution"), NULL;
  const int row_elems = f->k_w * f->in_c, out_padded = (int)hb_round_up((size_t)f->out_c, 8);
  *c = (hb_conv){.type = f->type,
                 .out_c = f->out_c,
                 .k_h = f->k_h,
                 .k_w = f->k_w,
                 .in_c = f->in_c,
                 .dilation_h = f->dilation_h,
                 .dilation_w = f->dilation_w,
                 .bits = f->bits,
                 .row_elems = row_elems,
                 .groups = (row_elems + HB_GROUP - 1) / HB_GROUP,
                 .out_padded = out_padded,
                 .rows = f->bits * out_padded};
  const hb_method *const *methods = hb_pick()->conv[f->type];
  c->method = methods[0]->takes(c) ? methods[0] : methods[1];
  if (!c->method->pack(c, codes)) return free(c), NULL;
  return c;
}

void hb_conv_destroy(hb_conv *c) {
  if (!c) return;
  free(c->index);
  free(c);
}

size_t hb_conv_weight_bytes(const hb_conv *c) { return c->index_bytes; }

void hb_conv_codes(const hb_conv *c, uint8_t *codes) { c->method->unpack(c, codes); }

typedef struct {
  const hb_conv *conv;
  const hb_plan *plan;
  const void *how, *x;
  void *y;
  char *workspace;
} conv_job;

static void run_tile(void *arg, int thread, int tile) {
  const conv_job *j = arg;
  char *own = j->workspace + (size_t)thread * j->plan->bytes;
  j->conv->method->run(j->conv, j->plan, j->how, j->x, j->y, own, tile);
}

static int run(const hb_conv *conv, const hb_conv_geometry *g, hb_type type, const void *how,
               const void *x, void *y, void *workspace, hb_pool *pool) {
  hb_plan plan;
  if (conv->type != type) return hb_fail("a convolution runs on the type it was made for"), 1;
  if (!hb_plan_make(&plan, conv, g, hb_pool_threads(pool))) return 1;
  conv_job job = {conv, &plan, how, x, y, workspace};
  hb_pool_run(plan.threads > 1 ? pool : NULL, plan.tiles, run_tile, &job);
  return 0;
}

size_t hb_conv_workspace(const hb_conv *conv, const hb_conv_geometry *g, int threads) {
  hb_plan plan;
  if (threads < 1 || threads > HB_MAX_THREADS) {
    hb_fail("%d threads; allowed are 1 to %d", threads, HB_MAX_THREADS);
    return 0;
  }
  return hb_plan_make(&plan, conv, g, threads) ? plan.bytes * (size_t)plan.threads : 0;
}

int hb_conv_f32(const hb_conv *conv, const hb_conv_geometry *g, const hb_scale *scale,
                const float *x, float *y, void *workspace, hb_pool *pool) {
  return run(conv, g, HB_F32, scale, x, y, workspace, pool);
}

int hb_conv_s8(const hb_conv *conv, const hb_conv_geometry *g, const hb_requant *requant,
               const int8_t *x, int8_t *y, void *workspace, hb_pool *pool) {
  return run(conv, g, HB_S8, requant, x, y, workspace, pool);
}
