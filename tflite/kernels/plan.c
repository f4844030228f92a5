// Geometry: what is refused, and how output pixels are dealt to lanes for tables in memory.
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_EXTENT = 1 << 24 };

static bool extent_ok(const char *what, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return true;
  hb_fail("%s is %lld; allowed are %lld to %lld", what, (long long)value, (long long)low,
          (long long)high);
  return false;
}

static bool geometry_ok(const hb_conv *conv, const hb_conv_geometry *g) {
  if (g->in_c != conv->in_c || g->out_c != conv->out_c || g->k_h != conv->k_h ||
      g->k_w != conv->k_w || g->dilation_h != conv->dilation_h ||
      g->dilation_w != conv->dilation_w) {
    hb_fail("the geometry says %dx%dx%d -> %d, the weights %dx%dx%d -> %d", g->k_h, g->k_w, g->in_c,
            g->out_c, conv->k_h, conv->k_w, conv->in_c, conv->out_c);
    return false;
  }
  if (!extent_ok("batch", g->batch, 1, MAX_EXTENT) ||
      !extent_ok("input height", g->in_h, 1, MAX_EXTENT) ||
      !extent_ok("input width", g->in_w, 1, MAX_EXTENT) ||
      !extent_ok("output height", g->out_h, 1, MAX_EXTENT) ||
      !extent_ok("output width", g->out_w, 1, MAX_EXTENT) ||
      !extent_ok("stride", g->stride_h < g->stride_w ? g->stride_h : g->stride_w, 1, 1 << 15) ||
      !extent_ok("stride", g->stride_h > g->stride_w ? g->stride_h : g->stride_w, 1, 1 << 15) ||
      !extent_ok("dilation height", g->dilation_h, 1, 1 << 15) ||
      !extent_ok("dilation width", g->dilation_w, 1, 1 << 15) ||
      !extent_ok("padding above", g->pad_top, 0, MAX_EXTENT) ||
      !extent_ok("padding left", g->pad_left, 0, MAX_EXTENT))
    return false;
  const int64_t in = (int64_t)g->in_h * g->in_w, out = (int64_t)g->out_h * g->out_w;
  return extent_ok("input elements per image", in, 1, INT32_MAX / g->in_c) &&
         extent_ok("output elements per image", out, 1, INT32_MAX / conv->rows) &&
         extent_ok("input elements", in * g->in_c, 1, INT64_MAX / 16 / g->batch) &&
         extent_ok("output elements", out * g->out_c, 1, INT64_MAX / 16 / g->batch) &&
         extent_ok("output pixels", out, 1, INT32_MAX / 2 / g->batch);
}

static int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Time per group with `segments` pieces, in look-ups (about a CPU cycle each): building a table
// costs about as much as 84 of them (64 stores plus packing); whole rounds of threads count.
static double piece_cost(const hb_plan *p, int segments, int threads) {
  const hb_conv_geometry *g = &p->g;
  const int64_t steps = divide_up(g->out_h, segments);
  const int64_t tiles = divide_up((int64_t)g->batch * segments * g->out_w, p->lanes);
  const int64_t span = (int64_t)(g->k_h - 1) * g->dilation_h + 1;
  const int64_t reach = (steps - 1) * g->stride_h + span;
  int64_t rows = steps * g->k_h;  // input rows that are used
  if (reach < rows) rows = reach;
  return (double)divide_up(tiles, threads) * ((double)rows * 84 + (double)steps * g->k_h * p->rows);
}

// Chooses the pieces for `threads` and returns their cost.
static double choose_segments(hb_plan *p, int threads) {
  const int out_h = p->g.out_h;
  double best = 0;
  for (int s = 1; s <= out_h && s <= 512; ++s) {
    if (s > 1 && divide_up(out_h, s) == divide_up(out_h, s - 1)) continue;
    const double cost = piece_cost(p, s, threads);
    if (s == 1 || cost < best) best = cost, p->segments = s;
  }
  p->threads = threads;
  return best;
}

// Extents are checked before, so that no sum or product of them leaves 63 bits.
size_t hb_place(uint64_t *end, int64_t count, size_t size) {
  const uint64_t at = *end;
  *end = (at + (uint64_t)count * size + 63) / 64 * 64;
  return (size_t)at;
}

bool hb_plan_fits(hb_plan *p, uint64_t end) {
  p->bytes = (size_t)end;
  if (end <= SIZE_MAX / 4 / HB_MAX_THREADS) return true;
  hb_fail("the workspace of a %dx%d convolution with %d outputs does not fit in memory", p->g.k_h,
          p->g.k_w, p->g.out_c);
  return false;
}

// The one place that knows how a workspace is laid out; every piece starts at a multiple of 64.
static bool lay_out(hb_plan *p) {
  hb_layout *at = &p->at;
  uint64_t end = 0;
  const int64_t live = (int64_t)p->rows * p->slots;
  at->tables = hb_place(&end, HB_BLOCK * HB_ENTRIES, HB_LANE_BYTES);
  at->row = hb_place(&end, divide_up(p->row_elems, HB_GROUP * HB_BLOCK) * HB_GROUP * HB_BLOCK,
                     HB_LANE_BYTES);
  at->sums = hb_place(&end, live, HB_LANE_BYTES);
  at->wide = hb_place(&end, live, HB_LANES_S8 * sizeof(int32_t));
  at->results = hb_place(&end, p->out_padded, HB_LANE_BYTES);
  at->columns = hb_place(&end, (int64_t)p->g.k_w * p->lanes, sizeof(int64_t));
  at->state = hb_place(&end, p->slots, sizeof(hb_slot));
  at->uses = hb_place(&end, p->slots, sizeof(hb_row_use));
  at->padding = hb_place(&end, p->g.in_c, sizeof(float));
  return hb_plan_fits(p, end);
}

bool hb_lut_plan(hb_plan *p, const hb_conv *conv, int threads) {
  const hb_conv_geometry *g = &p->g;
  const int lanes = conv->type == HB_F32 ? HB_LANES_F32 : HB_LANES_S8;
  p->lanes = lanes;
  p->row_elems = conv->row_elems;
  p->groups = conv->groups;
  p->bits = conv->bits;
  p->out_padded = conv->out_padded;
  p->rows = conv->rows;
  if (choose_segments(p, 1) * p->groups >= HB_ALONE && threads > 1) choose_segments(p, threads);
  p->steps = (int)divide_up(g->out_h, p->segments);
  p->segments = (int)divide_up(g->out_h, p->steps);
  p->lane_count = (int64_t)g->batch * p->segments * g->out_w;
  p->tiles = (int)divide_up(p->lane_count, lanes);
  const int64_t elements =
      (int64_t)g->in_h * g->in_w * g->in_c + (int64_t)g->out_h * g->out_w * g->out_c;
  // A row of a 1x1 convolution is too little work to pay for fetching.
  p->is_far = g->k_h > 1 && elements * (lanes == HB_LANES_F32 ? 4 : 1) > HB_FAR;
  const int64_t live = (int64_t)(g->k_h - 1) * g->dilation_h / g->stride_h + 1;
  p->slots = (int)(live < p->steps ? live : p->steps);
  return lay_out(p);
}

bool hb_plan_make(hb_plan *p, const hb_conv *conv, const hb_conv_geometry *g, int threads) {
  memset(p, 0, sizeof *p);
  if (!geometry_ok(conv, g)) return false;
  p->g = *g;
  return conv->method->plan(p, conv, threads);
}
