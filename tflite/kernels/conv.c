// Convolution entry points: plan, then tiles shared out over threads.
#include "internal.h"

typedef struct {
  const hb_conv *conv;
  const hb_plan *plan;
  const void *how, *x;
  void *y;
  char *workspace;
  bool is_float;
} conv_job;

static void run_tile(void *arg, int thread, int tile) {
  const conv_job *j = arg;
  char *own = j->workspace + (size_t)thread * j->plan->at.bytes;
  const hb_kernels *k = j->conv->kernels;
  if (j->is_float)
    k->conv_f32(j->conv, j->plan, j->how, j->x, j->y, own, tile, tile + 1);
  else
    k->conv_s8(j->conv, j->plan, j->how, j->x, j->y, own, tile, tile + 1);
}

static int run(const hb_conv *conv, const hb_conv_geometry *g, const void *how, const void *x,
               void *y, void *workspace, hb_pool *pool, bool is_float) {
  hb_plan plan;
  if (!hb_plan_make(&plan, conv, g, is_float ? HB_LANES_F32 : HB_LANES_S8, hb_pool_threads(pool)))
    return 1;
  conv_job job = {conv, &plan, how, x, y, workspace, is_float};
  hb_pool_run(plan.threads > 1 ? pool : NULL, plan.tiles, run_tile, &job);
  return 0;
}

size_t hb_conv_workspace(const hb_conv *conv, const hb_conv_geometry *g, int threads) {
  hb_plan f, s;
  if (threads < 1 || threads > HB_MAX_THREADS) {
    hb_fail("%d threads; allowed are 1 to %d", threads, HB_MAX_THREADS);
    return 0;
  }
  if (!hb_plan_make(&f, conv, g, HB_LANES_F32, threads) ||
      !hb_plan_make(&s, conv, g, HB_LANES_S8, threads))
    return 0;
  const size_t of_f = f.at.bytes * (size_t)f.threads, of_s = s.at.bytes * (size_t)s.threads;
  return of_f > of_s ? of_f : of_s;
}

int hb_conv_f32(const hb_conv *conv, const hb_conv_geometry *g, const hb_scale *scale,
                const float *x, float *y, void *workspace, hb_pool *pool) {
  return run(conv, g, scale, x, y, workspace, pool, true);
}

int hb_conv_s8(const hb_conv *conv, const hb_conv_geometry *g, const hb_requant *requant,
               const int8_t *x, int8_t *y, void *workspace, hb_pool *pool) {
  return run(conv, g, requant, x, y, workspace, pool, false);
}
